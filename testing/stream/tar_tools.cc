#include "testing/stream/tar_tools.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <utility>

#include "base/assert.h"
#include "stream/tar_writer.h"
#include "testing/paths.h"

namespace holdfast::testing {
namespace {

constexpr std::size_t kMemory = std::size_t{1} << 30;

void FillRandom(std::span<std::byte> bytes, Random& random) {
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.Next() & 0xff);
  if (!bytes.empty()) bytes.front() |= std::byte{1};
}

std::size_t Draw(Random& random, std::int64_t low, std::int64_t high) {
  return static_cast<std::size_t>(random.Between(low, high));
}

std::string RandomPath(std::size_t number, Random& random) {
  // Around 100 bytes the form of the name changes.
  const std::size_t size = random.Between(0, 3) == 0 ? Draw(random, 90, 110) : Draw(random, 8, 300);
  std::string path = "entry" + std::to_string(number) + "/";
  while (path.size() < size) {
    path += static_cast<char>(random.Between(0, 9) == 0 ? '/' : random.Between('a', 'z'));
  }
  if (path.back() == '/') path.back() = 'e';
  return path;
}

std::vector<DataRun> RandomRuns(Random& random) {
  std::vector<DataRun> runs;
  std::uint64_t at = 0;
  for (std::size_t count = Draw(random, 0, 60); count > 0; --count) {
    at += Draw(random, 0, 3) * 4096;
    const std::uint64_t length = Draw(random, 1, 4) * 512;
    runs.push_back({at, length});
    at += length;
  }
  // Only the last run may have any length.
  if (!runs.empty() && random.Between(0, 1) == 0) runs.back().length -= Draw(random, 0, 511);
  return runs;
}

}  // namespace

Bytes ReadTestData(std::string_view name) {
  std::ifstream file(SourceDir() / "tests" / "data" / name, std::ios::binary);
  HF_ASSERT(file.is_open());
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return ToBytes(AsBytes(text));
}

std::vector<std::string> WholeTars() {
  return {"shard-stream.tar", "shard-regular.tar", "shard-hybrid.tar", "shard-empty.tar",
          "partial-full.tar"};
}

Status TarCollector::OnEntry(const CallContext& /*call*/, const TarEntry& entry) {
  EXPECT_FALSE(open_);
  open_ = true;
  entries.push_back({.entry = entry, .data = {}, .padding = {}});
  return {};
}

Status TarCollector::OnData(const CallContext& /*call*/, std::uint64_t file_offset, ByteView data) {
  EXPECT_TRUE(open_);
  EXPECT_FALSE(data.empty());
  ReadEntry& now = entries.back();
  std::uint64_t before = 0;
  for (const DataRun& run : now.entry.runs) {
    if (now.data.size() < before + run.length) {
      const std::uint64_t in_run = now.data.size() - before;
      EXPECT_EQ(file_offset, run.offset + in_run) << now.entry.path;
      EXPECT_LE(data.size(), run.length - in_run) << now.entry.path;
      break;
    }
    before += run.length;
  }
  Append(now.data, data);
  return {};
}

Status TarCollector::OnEntryEnd(const CallContext& /*call*/, ByteView padding) {
  EXPECT_TRUE(std::exchange(open_, false));
  EXPECT_EQ(entries.back().data.size(), entries.back().entry.stored_size);
  entries.back().padding = ToBytes(padding);
  return {};
}

Status Feed(ByteSink& sink, ByteView bytes, std::size_t slice) {
  Random random(bytes.size());
  while (!bytes.empty()) {
    // Small ones and large ones: powers of two up to 64 KiB, less some.
    const std::size_t drawn = Draw(random, 1, std::int64_t{1} << random.Between(0, 16));
    const std::size_t size = std::min(slice == 0 ? drawn : slice, bytes.size());
    HF_RETURN_IF_ERROR(sink.Write({}, bytes.first(size)));
    bytes = bytes.subspan(size);
  }
  return {};
}

Result<std::vector<ReadEntry>> ReadTar(ByteView tar, std::size_t slice) {
  TarCollector collector;
  TarReader reader(collector);
  HF_RETURN_IF_ERROR(Feed(reader, tar, slice));
  HF_RETURN_IF_ERROR(reader.Finish());
  return std::move(collector.entries);
}

Bytes WriteVerbatim(const std::vector<ReadEntry>& entries, std::uint64_t zero_bytes) {
  BytesSink sink(kMemory);
  TarWriter writer(sink);
  for (const ReadEntry& e : entries) {
    EXPECT_TRUE(writer.BeginVerbatim({}, e.entry.headers, e.entry.stored_size).ok());
    EXPECT_TRUE(writer.Data({}, e.data).ok());
    EXPECT_TRUE(writer.End({}, e.padding).ok());
  }
  EXPECT_TRUE(writer.Finish({}, zero_bytes).ok());
  EXPECT_EQ(writer.offset(), sink.bytes().size());
  return sink.Take();
}

Bytes WriteNew(const std::vector<ReadEntry>& entries) {
  BytesSink sink(kMemory);
  TarWriter writer(sink);
  for (const ReadEntry& e : entries) {
    const Status begun = writer.Begin({}, e.entry);
    EXPECT_TRUE(begun.ok()) << begun.error().ToString();
    EXPECT_TRUE(writer.Data({}, e.data).ok());
    EXPECT_TRUE(writer.End({}).ok());
  }
  EXPECT_TRUE(writer.Finish({}).ok());
  return sink.Take();
}

ReadEntry MakeFile(std::string_view path, std::string_view content) {
  ReadEntry made;
  made.entry.path = path;
  made.entry.mode = 0644;
  made.entry.real_size = made.entry.stored_size = content.size();
  if (!content.empty()) made.entry.runs.push_back({0, content.size()});
  made.data = ToBytes(AsBytes(content));
  return made;
}

ReadEntry MakeSparse(std::string_view path, std::uint64_t real_size, std::vector<DataRun> runs,
                     Random& random) {
  ReadEntry made;
  made.entry.path = path;
  made.entry.type = TarEntryType::kSparse;
  made.entry.mode = 0100644;
  made.entry.mtime = static_cast<std::uint64_t>(random.Between(0, 2'000'000'000));
  made.entry.real_size = real_size;
  made.entry.runs = std::move(runs);
  for (const DataRun& run : made.entry.runs) made.entry.stored_size += run.length;
  made.data.resize(made.entry.stored_size);
  FillRandom(made.data, random);
  return made;
}

ReadEntry MakeRandomEntry(std::size_t number, Random& random) {
  const std::string path = RandomPath(number, random);
  switch (random.Between(0, 3)) {
    case 0: {
      ReadEntry folder;
      folder.entry.path = path + "/";
      folder.entry.type = TarEntryType::kDirectory;
      folder.entry.mode = 0755;
      return folder;
    }
    case 1: {
      std::string content(Draw(random, 0, 3000), '\0');
      FillRandom(std::as_writable_bytes(std::span(content)), random);
      return MakeFile(path, content);
    }
    default: {
      std::vector<DataRun> runs = RandomRuns(random);
      const std::uint64_t end = runs.empty() ? 0 : runs.back().offset + runs.back().length;
      return MakeSparse(path, end + Draw(random, 0, 2) * 1000, std::move(runs), random);
    }
  }
}

Bytes Expand(const ReadEntry& entry) {
  Bytes file(entry.entry.real_size);
  auto from = entry.data.begin();
  for (const DataRun& run : entry.entry.runs) {
    const auto length = static_cast<std::ptrdiff_t>(run.length);
    std::copy(from, from + length, file.begin() + static_cast<std::ptrdiff_t>(run.offset));
    from += length;
  }
  return file;
}

void FixChecksum(std::span<std::byte> block) {
  constexpr std::size_t kAt = 148;
  std::uint64_t sum = 8 * ' ';
  for (std::size_t i = 0; i < kTarBlockBytes; ++i) {
    if (i < kAt || i >= kAt + 8) sum += std::to_integer<std::uint64_t>(block[i]);
  }
  char text[8];
  std::snprintf(text, sizeof text, "%06o", static_cast<unsigned>(sum));
  text[7] = ' ';
  std::copy_n(reinterpret_cast<const std::byte*>(text), sizeof text,
              block.begin() + static_cast<std::ptrdiff_t>(kAt));
}

}  // namespace holdfast::testing
