// What libarchive sees in our tars, and what we see in those it was made for: the same.

#include <archive.h>
#include <archive_entry.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "testing/stream/tar_tools.h"

namespace holdfast {
namespace {

using namespace holdfast::testing;

struct FreeArchive {
  void operator()(archive* a) const noexcept { archive_read_free(a); }
};

struct SeenEntry {
  std::string path;
  bool directory = false;
  std::uint64_t size = 0;
  std::uint64_t mtime = 0;
  /// The blocks it gave, those that touch each other as one, and their bytes.
  std::vector<DataRun> runs;
  Bytes data;
};

void AddRun(std::vector<DataRun>& runs, DataRun run) {
  if (!runs.empty() && runs.back().offset + runs.back().length == run.offset) {
    runs.back().length += run.length;
  } else {
    runs.push_back(run);
  }
}

std::vector<SeenEntry> ReadWithLibarchive(ByteView tar) {
  const std::unique_ptr<archive, FreeArchive> reader(archive_read_new());
  archive_read_support_format_tar(reader.get());
  EXPECT_EQ(archive_read_open_memory(reader.get(), tar.data(), tar.size()), ARCHIVE_OK);
  std::vector<SeenEntry> seen;
  archive_entry* entry = nullptr;
  int status = ARCHIVE_OK;
  while ((status = archive_read_next_header(reader.get(), &entry)) == ARCHIVE_OK) {
    SeenEntry now;
    now.path = archive_entry_pathname(entry);
    now.directory = archive_entry_filetype(entry) == AE_IFDIR;
    now.size = static_cast<std::uint64_t>(archive_entry_size(entry));
    now.mtime = static_cast<std::uint64_t>(archive_entry_mtime(entry));
    const void* block = nullptr;
    std::size_t size = 0;
    la_int64_t offset = 0;
    while (archive_read_data_block(reader.get(), &block, &size, &offset) == ARCHIVE_OK) {
      if (size == 0) continue;
      AddRun(now.runs, {static_cast<std::uint64_t>(offset), size});
      Append(now.data, {static_cast<const std::byte*>(block), size});
    }
    seen.push_back(std::move(now));
  }
  EXPECT_EQ(status, ARCHIVE_EOF) << (archive_error_string(reader.get())
                                         ? archive_error_string(reader.get())
                                         : "");
  return seen;
}

void ExpectSame(const std::vector<ReadEntry>& ours, const std::vector<SeenEntry>& theirs) {
  ASSERT_EQ(ours.size(), theirs.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const TarEntry& entry = ours[i].entry;
    EXPECT_EQ(entry.path, theirs[i].path);
    EXPECT_EQ(entry.type == TarEntryType::kDirectory, theirs[i].directory) << entry.path;
    EXPECT_EQ(entry.real_size, theirs[i].size) << entry.path;
    EXPECT_EQ(entry.mtime, theirs[i].mtime) << entry.path;
    std::vector<DataRun> runs;
    for (const DataRun& run : entry.runs) AddRun(runs, run);
    EXPECT_EQ(runs, theirs[i].runs) << entry.path;
    EXPECT_TRUE(ours[i].data == theirs[i].data) << entry.path;
  }
}

TEST(TarOracle, SeesTheSameInTheRecordedTars) {
  for (const std::string& name : WholeTars()) {
    SCOPED_TRACE(name);
    const Bytes tar = ReadTestData(name);
    const auto ours = ReadTar(tar);
    ASSERT_TRUE(ours.ok());
    ExpectSame(*ours, ReadWithLibarchive(tar));
  }
}

TEST(TarOracle, SeesTheSameInTarsWithHeadersOfOurs) {
  for (const std::string& name : WholeTars()) {
    SCOPED_TRACE(name);
    const auto ours = ReadTar(ReadTestData(name));
    ASSERT_TRUE(ours.ok());
    ExpectSame(*ours, ReadWithLibarchive(WriteNew(*ours)));
  }
}

TEST(TarOracle, SeesTheSameInRandomTars) {
  Random random(31);
  for (int round = 0; round < 60; ++round) {
    std::vector<ReadEntry> entries;
    const auto count = static_cast<std::size_t>(random.Between(1, 12));
    for (std::size_t i = 0; i < count; ++i) entries.push_back(MakeRandomEntry(i, random));
    ExpectSame(entries, ReadWithLibarchive(WriteNew(entries)));
  }
}

// Measured fact 2, and the reason for a reader of our own: libarchive calls this a clean end.
TEST(TarOracle, SeesNothingWrongInAShortStream) {
  const Bytes tar = ReadTestData("shard-truncated-silently.tar");
  EXPECT_FALSE(ReadTar(tar).ok());
  EXPECT_EQ(ReadWithLibarchive(tar).size(), 202U);
}

}  // namespace
}  // namespace holdfast
