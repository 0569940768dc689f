#include "repo/write/spool_file.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/random.h"
#include "testing/repo/test_repository.h"
#include "testing/temp_folder.h"

namespace holdfast {
namespace {

TEST(SpoolFileTest, GivesBackWhatWasWrittenInAnyOrder) {
  const testing::TempFolder folder;
  const auto spool = *SpoolFile::Create(folder.path(), 1 << 20);
  Random random(1);
  struct Written {
    SpoolFile::Piece piece;
    Bytes bytes;
  };
  std::vector<Written> pieces;
  for (int i = 0; i < 2'000; ++i) {
    const Bytes bytes = testing::Noise(static_cast<std::size_t>(random.Between(1, 30'000)),
                                       static_cast<std::uint64_t>(i));
    if (spool->HasRoom(bytes.size())) {
      const auto piece = spool->Write(bytes);
      ASSERT_TRUE(piece.ok());
      pieces.push_back({*piece, bytes});
      continue;
    }
    const auto index =
        static_cast<std::size_t>(random.Between(0, static_cast<std::int64_t>(pieces.size()) - 1));
    Bytes read;
    ASSERT_TRUE(spool->Read(pieces[index].piece, read).ok());
    ASSERT_TRUE(read == pieces[index].bytes) << i;
    spool->Free(pieces[index].piece);
    pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(index));
  }
  for (const Written& written : pieces) {
    Bytes read;
    ASSERT_TRUE(spool->Read(written.piece, read).ok());
    EXPECT_TRUE(read == written.bytes);
    spool->Free(written.piece);
  }
  EXPECT_EQ(spool->bytes(), 0U);
}

TEST(SpoolFileTest, LeavesNoNameBehind) {
  const testing::TempFolder folder;
  const auto spool = *SpoolFile::Create(folder.path(), 1 << 20);
  ASSERT_TRUE(spool->Write(Bytes(1'000)).ok());
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(SpoolFileTest, NamesADirectoryThatIsNotThere) {
  const auto spool = SpoolFile::Create("/nonexistent/spool", 1);
  ASSERT_FALSE(spool.ok());
  EXPECT_EQ(spool.error().code(), ErrorCode::kNotFound);
  EXPECT_NE(spool.error().message().find("/nonexistent/spool"), std::string::npos);
}

}  // namespace
}  // namespace holdfast
