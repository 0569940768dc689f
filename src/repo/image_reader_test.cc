#include "repo/image_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "repo/format/keys.h"
#include "testing/faulty_object_store.h"
#include "testing/repo/test_repository.h"
#include "testing/stream/tar_tools.h"

namespace holdfast {
namespace {

using namespace holdfast::testing;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class ImageReaderTest : public ::testing::Test {
 protected:
  ImageReaderTest() {
    counting_.AllowUnused();
    EXPECT_TRUE(InitRepository(store_, Sealing::kAes256Gcm).ok());
    repository_ = *OpenRepository(counting_, Sealing::kAes256Gcm);
  }

  /// The image of one shard with that tar.
  std::unique_ptr<ImageReader> Store(const Bytes& tar) {
    TestBackup backup;
    backup.shards = {{"shard", tar}};
    const auto made = Backup(*repository_, backup);
    EXPECT_TRUE(made.ok()) << made.error().ToString();
    const auto envelope = *repository_->ReadManifest({}, made->group);
    return *ImageReader::Open({}, *repository_, envelope.images[0].key);
  }
  std::string OnlyPack() {
    for (const std::string& key : store_.keys()) {
      if (key.starts_with("packs/")) return key;
    }
    return {};
  }

  MemoryObjectStore store_;
  FaultyObjectStore counting_{store_};
  std::unique_ptr<Repository> repository_;
};

TEST_F(ImageReaderTest, GivesTheTarInPiecesOfAnySize) {
  const Bytes tar = ReadTestData("shard-hybrid.tar");
  const auto image = Store(tar);
  EXPECT_EQ(image->size(), tar.size());
  EXPECT_EQ(image->sha256(), Sha256Of(tar));
  EXPECT_EQ(image->note(), R"({"note":1})");
  for (const std::size_t piece : {std::size_t{1'000}, std::size_t{65'536}, tar.size() + 1}) {
    const auto source = *image->OpenTar({});
    Bytes out;
    Bytes buffer(piece);
    for (;;) {
      const auto got = source->Read({}, buffer);
      ASSERT_TRUE(got.ok()) << got.error().ToString();
      if (*got == 0) break;
      Append(out, ByteView(buffer).first(*got));
    }
    EXPECT_TRUE(out == tar);
    EXPECT_EQ(*source->Read({}, buffer), 0U);
  }
}

TEST_F(ImageReaderTest, AnyAmountOfParallelismAndReadAheadGivesTheSame) {
  const Bytes tar =
      MakeTar({{"a", Noise(9 << 20, 1)}, {"b", Noise(5, 2)}, {"c", Noise(3 << 20, 3)}});
  const auto image = Store(tar);
  for (const std::size_t parallelism : {1, 2, 8}) {
    for (const std::uint64_t ahead :
         {std::uint64_t{1}, std::uint64_t{1} << 20, std::uint64_t{1} << 30}) {
      const auto source =
          *image->OpenTar({}, {.parallelism = parallelism, .read_ahead_bytes = ahead});
      EXPECT_TRUE(*ReadAll(*source) == tar) << parallelism << " " << ahead;
    }
  }
}

TEST_F(ImageReaderTest, NeighbouringBlocksComeWithOneGet) {
  const Bytes tar = MakeTar({{"a", Noise(12 << 20, 1)}});
  const auto image = Store(tar);
  const std::uint64_t before = counting_.calls(StoreOp::kGet);
  EXPECT_TRUE(*ReadAll(**image->OpenTar({})) == tar);
  // 96 blocks in stretches of 4 MiB.
  EXPECT_LE(counting_.calls(StoreOp::kGet) - before, 5U);
}

TEST_F(ImageReaderTest, EqualBlocksComeWithOneGet) {
  const Bytes tar = MakeTar({{"same", Bytes(12 << 20, std::byte{7})}});
  const auto image = Store(tar);
  const std::uint64_t before = counting_.calls(StoreOp::kGet);
  EXPECT_TRUE(*ReadAll(**image->OpenTar({})) == tar);
  EXPECT_LE(counting_.calls(StoreOp::kGet) - before, 5U);
}

TEST_F(ImageReaderTest, ListsItsFiles) {
  const Bytes tar = ReadTestData("shard-stream.tar");
  const auto entries = *ReadTar(tar);
  const auto image = Store(tar);
  std::vector<std::string> paths;
  std::vector<std::uint64_t> sizes;
  ASSERT_TRUE(image
                  ->ListFiles({},
                              [&](const ImageFile& file) -> Status {
                                paths.push_back(file.path);
                                sizes.push_back(file.real_size);
                                EXPECT_EQ(ParseTarHeaders(file.headers)->path, file.path);
                                return {};
                              })
                  .ok());
  ASSERT_EQ(paths.size(), entries.size());
  for (std::size_t i = 0; i < paths.size(); ++i) {
    EXPECT_EQ(paths[i], entries[i].entry.path);
    EXPECT_EQ(sizes[i], entries[i].entry.real_size);
  }
  EXPECT_EQ(image->ref().files, entries.size());
}

TEST_F(ImageReaderTest, ReadsSingleFilesWithTheirHoles) {
  Random random(1);
  const std::vector<ReadEntry> made = {
      MakeFile("plain", AsText(Noise(300'000, 1))), MakeFile("empty", ""),
      MakeSparse("sparse", 2'000'000, {{4'096, 8'192}, {700'416, 512}, {1'500'160, 1'024}}, random),
      MakeSparse("hole at the end", 100'000, {{0, 512}}, random),
      MakeSparse("hole", 5'000'000, {}, random)};
  const Bytes tar = WriteNew(made);
  const auto image = Store(tar);
  for (const ReadEntry& entry : made) {
    const auto file = image->OpenFile({}, entry.entry.path);
    ASSERT_TRUE(file.ok()) << file.error().ToString();
    const auto content = ReadAll(**file);
    ASSERT_TRUE(content.ok()) << content.error().ToString();
    EXPECT_TRUE(*content == Expand(entry)) << entry.entry.path;
  }
  EXPECT_EQ(image->OpenFile({}, "absent").error().code(), ErrorCode::kNotFound);
}

TEST_F(ImageReaderTest, AHoleLargerThanMemoryIsReadInPieces) {
  Random random(1);
  const auto image =
      Store(WriteNew({MakeSparse("hole", std::uint64_t{1} << 45, {{0, 512}}, random)}));
  const auto file = *image->OpenFile({}, "hole");
  Bytes buffer(1 << 20);
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(file->Read({}, buffer).ok());
}

TEST_F(ImageReaderTest, ADamagedBlockIsNamedAndNeverGivenOut) {
  const Bytes tar = MakeTar({{"a", Noise(3 << 20, 1)}});
  const auto image = Store(tar);
  const std::string pack = OnlyPack();
  store_.Damage(pack, [](Bytes& bytes) { bytes[1'000'000] ^= std::byte{1}; });
  const auto read = ReadAll(**image->OpenTar({}));
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code(), ErrorCode::kDataLoss);
  EXPECT_THAT(read.error().message(), StartsWith(pack));
  EXPECT_THAT(read.error().message(), HasSubstr("block 7"));
}

TEST_F(ImageReaderTest, AMissingOrShortenedPackIsNamed) {
  const auto image = Store(MakeTar({{"a", Noise(3 << 20, 1)}}));
  const std::string pack = OnlyPack();
  store_.Damage(pack, [](Bytes& bytes) { bytes.resize(bytes.size() / 2); });
  const auto shorter = ReadAll(**image->OpenTar({}));
  ASSERT_FALSE(shorter.ok());
  EXPECT_EQ(shorter.error().code(), ErrorCode::kDataLoss);
  EXPECT_THAT(shorter.error().message(), HasSubstr(pack));
  ASSERT_TRUE(store_.Delete({}, pack).ok());
  const auto missing = ReadAll(**image->OpenTar({}));
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code(), ErrorCode::kDataLoss);
  EXPECT_THAT(missing.error().message(), HasSubstr(pack + " is missing"));
}

TEST_F(ImageReaderTest, AMissingImageIsDataLoss) {
  const std::string key =
      ImageKey(GroupId("20261122T032438Z-9f8a7b6c5d4e3f2a"), std::string(32, 'a'));
  EXPECT_EQ(ImageReader::Open({}, *repository_, key).error().code(), ErrorCode::kDataLoss);
  EXPECT_EQ(ImageReader::Open({}, *repository_, "images/x").error().code(),
            ErrorCode::kInvalidArgument);
}

TEST_F(ImageReaderTest, AnErrorOfTheStoreIsPassedOn) {
  const auto image = Store(MakeTar({{"a", Noise(3 << 20, 1)}}));
  counting_.Next(StoreOp::kGet, StoreFault::Refuse(ErrorCode::kUnavailable), 1, "packs/");
  const auto source = *image->OpenTar({});
  const auto read = ReadAll(*source);
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code(), ErrorCode::kUnavailable);
  Bytes buffer(10);
  EXPECT_FALSE(source->Read({}, buffer).ok());
}

TEST_F(ImageReaderTest, StopsWithItsCall) {
  std::stop_source stop;
  const auto image = Store(MakeTar({{"a", Noise(30 << 20, 1)}}));
  const auto source = *image->OpenTar({.stop = stop.get_token(), .deadline = std::nullopt},
                                      {.parallelism = 2, .read_ahead_bytes = 1 << 20});
  Bytes buffer(1'000);
  ASSERT_TRUE(source->Read({}, buffer).ok());
  stop.request_stop();
  const auto rest = ReadAll(*source);
  ASSERT_FALSE(rest.ok());
  EXPECT_EQ(rest.error().code(), ErrorCode::kCancelled);
}

TEST_F(ImageReaderTest, MayBeDroppedInTheMiddle) {
  const auto image = Store(MakeTar({{"a", Noise(30 << 20, 1)}}));
  const auto source = *image->OpenTar({});
  Bytes buffer(1'000);
  ASSERT_TRUE(source->Read({}, buffer).ok());
}

}  // namespace
}  // namespace holdfast
