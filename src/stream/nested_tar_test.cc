#include "stream/nested_tar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "testing/stream/tar_tools.h"

namespace holdfast {
namespace {

using namespace holdfast::testing;
using ::testing::HasSubstr;

constexpr std::size_t kMemory = std::size_t{1} << 30;
const std::string kId = "4d9273b3-6b17-4693-bfeb-e86f7db27525";

struct Flat {
  NestedTarEnd end;
  Bytes tar;
};

Result<Flat> Flatten(ByteView tar, std::optional<ShardId> shard = {},
                     std::size_t slice = 64 * 1024) {
  BytesSink sink(kMemory);
  NestedTarReader reader(shard, sink);
  HF_RETURN_IF_ERROR(Feed(reader, tar, slice));
  HF_TRY(const NestedTarEnd end, reader.Finish({}));
  return Flat{.end = end, .tar = sink.Take()};
}

/// The tar of one small segment, with or without end marker.
Bytes SegmentTar(const std::vector<ReadEntry>& files, bool marker = false) {
  Bytes tar = WriteNew(files);
  if (!marker) tar.resize(tar.size() - 1024);
  return tar;
}

std::vector<ReadEntry> SegmentFiles() {
  Random random(1);
  return {MakeSparse("snapshot/files/vector_storage/vectors/chunk_0.mmap", 1 << 20,
                     {{0, 4096}, {65536, 8192}}, random),
          MakeFile("snapshot/files/" + std::string(120, 'l'), "long"),
          MakeFile("snapshot/files/segment.json", "{}"),
          MakeFile("snapshot/files/version.info", "0.6.0")};
}

ReadEntry File(std::string_view path, const Bytes& content) {
  return MakeFile(path, AsText(content));
}

/// A stored shard snapshot below `prefix`.
std::vector<ReadEntry> ShardEntries(const std::string& prefix, const Bytes& segment) {
  return {File(prefix + "segments/" + kId + ".tar", segment),
          MakeFile(prefix + "newest_clocks.json", "{\"clocks\":[]}"),
          MakeFile(prefix + "wal/open-1", "wal bytes"),
          MakeFile(prefix + "wal/first-index", "{}"),
          MakeFile(prefix + "applied_seq.json", "{\"op_num\":7}"),
          MakeFile(prefix + "replica_state.json", "{\"is_local\":true}"),
          MakeFile(prefix + "shard_config.json", "{\"type\":\"ReplicaSet\"}")};
}

std::vector<std::string> Paths(const std::vector<ReadEntry>& entries) {
  std::vector<std::string> paths;
  for (const ReadEntry& e : entries) paths.push_back(e.entry.path);
  return paths;
}

class NestedTar : public ::testing::Test {
 protected:
  std::vector<ReadEntry> shard_ = ShardEntries("", SegmentTar(SegmentFiles()));
  Result<Flat> FlattenShard() const { return Flatten(WriteNew(shard_)); }
  void ExpectRefused(ErrorCode code, std::string_view why) const {
    const auto flat = FlattenShard();
    ASSERT_FALSE(flat.ok()) << why;
    EXPECT_EQ(flat.error().code(), code) << flat.error().ToString();
    EXPECT_THAT(flat.error().message(), HasSubstr(std::string(why)));
  }
};

TEST_F(NestedTar, TheRecordedStoredSnapshotGetsTheFormOfTheStreamedOne) {
  const Bytes stored = ReadTestData("shard-regular.tar");
  const auto flat = Flatten(stored);
  ASSERT_TRUE(flat.ok()) << flat.error().ToString();
  EXPECT_EQ(flat->end.segments, 2U);
  EXPECT_EQ(flat->end.bytes, flat->tar.size());

  // The files of the inner tars, as they are there.
  std::map<std::string, ReadEntry> wanted;
  const auto outer = ReadTar(stored);
  for (const ReadEntry& e : *outer) {
    if (!e.entry.path.starts_with("segments/")) continue;
    const std::string folder = e.entry.path.substr(0, e.entry.path.size() - 4) + "/files/";
    Bytes inner = Expand(e);
    inner.resize(inner.size() + 1024);  // They have no end marker.
    const auto files = ReadTar(inner);
    ASSERT_TRUE(files.ok());
    for (const ReadEntry& file : *files) {
      wanted[folder + file.entry.path.substr(std::string("snapshot/files/").size())] = file;
    }
  }
  const auto read = ReadTar(flat->tar);
  ASSERT_TRUE(read.ok()) << read.error().ToString();
  for (const ReadEntry& e : *read) {
    if (!e.entry.path.starts_with("segments/")) continue;
    ASSERT_TRUE(wanted.contains(e.entry.path)) << e.entry.path;
    EXPECT_EQ(e.data, wanted[e.entry.path].data);
    EXPECT_EQ(e.entry.runs, wanted[e.entry.path].entry.runs);
    EXPECT_EQ(e.entry.mtime, wanted[e.entry.path].entry.mtime);
    wanted.erase(e.entry.path);
  }
  EXPECT_TRUE(wanted.empty());

  // The streamed snapshot of the same shard has the same entries, but for the order of segments.
  std::vector<std::string> ours = Paths(*read);
  std::vector<std::string> streamed = Paths(*ReadTar(ReadTestData("shard-stream.tar")));
  EXPECT_TRUE(std::equal(ours.end() - 4, ours.end(), streamed.end() - 4));
  std::sort(ours.begin(), ours.end());
  std::sort(streamed.begin(), streamed.end());
  EXPECT_EQ(ours, streamed);
}

TEST_F(NestedTar, SlicesMakeNoDifference) {
  const Bytes stored = WriteNew(shard_);
  const Bytes wanted = Flatten(stored)->tar;
  for (const std::size_t slice : {1, 7, 512, 0}) EXPECT_EQ(Flatten(stored, {}, slice)->tar, wanted);
}

TEST_F(NestedTar, TheOrderIsThatOfAStreamedShard) {
  const auto flat = FlattenShard();
  ASSERT_TRUE(flat.ok()) << flat.error().ToString();
  const std::string files = "segments/" + kId + "/files/";
  const auto read = ReadTar(flat->tar);
  EXPECT_THAT(Paths(*read),
              ::testing::ElementsAre(files + "vector_storage/vectors/chunk_0.mmap",
                                     files + std::string(120, 'l'), files + "segment.json",
                                     files + "version.info", "newest_clocks.json", "wal/",
                                     "wal/open-1", "wal/first-index", "applied_seq.json",
                                     "replica_state.json", "shard_config.json"));
  EXPECT_EQ((*read)[0].entry.real_size, 1U << 20);
}

TEST_F(NestedTar, OneShardIsTakenOutOfACollectionSnapshot) {
  std::vector<ReadEntry> collection = ShardEntries("0/", SegmentTar(SegmentFiles()));
  std::vector<ReadEntry> other_files = SegmentFiles();
  other_files[1] = MakeFile("snapshot/files/only_in_1", "1");
  for (ReadEntry& e : ShardEntries("1/", SegmentTar(other_files))) collection.push_back(e);
  // A shard of another peer has these two only.
  collection.push_back(MakeFile("10/replica_state.json", "{\"is_local\":false}"));
  collection.push_back(MakeFile("10/shard_config.json", "{}"));
  for (const char* name : {"version.info", "config.json", "shard_key_mapping.json"}) {
    collection.push_back(MakeFile(name, "{}"));
  }
  const Bytes tar = WriteNew(collection);

  const auto zero = Flatten(tar, ShardId(0));
  ASSERT_TRUE(zero.ok()) << zero.error().ToString();
  EXPECT_EQ(zero->tar, FlattenShard()->tar);
  EXPECT_EQ(zero->end.skipped_entries, 12U);
  const auto one = Flatten(tar, ShardId(1));
  ASSERT_TRUE(one.ok());
  EXPECT_THAT(Paths(*ReadTar(one->tar)),
              ::testing::Contains("segments/" + kId + "/files/only_in_1"));
  EXPECT_THAT(Flatten(tar, ShardId(10)).error().message(), HasSubstr("has no segment"));
  EXPECT_THAT(Flatten(tar, ShardId(2)).error().message(), HasSubstr("has no segment"));
  EXPECT_FALSE(Flatten(tar).ok());
}

TEST_F(NestedTar, ASegmentTarMayItselfBeSparse) {
  // The chunk is not sparse within the segment's tar, so that this has long runs of zeros.
  std::vector<ReadEntry> files = SegmentFiles();
  files[0] = MakeFile("snapshot/files/vector_storage/vectors/chunk_0.mmap",
                      std::string(4096, 'a') + std::string(300'000, '\0') + std::string(4096, 'b'));
  for (const bool marker : {false, true}) {
    const Bytes segment = SegmentTar(files, marker);
    ReadEntry sparse;
    sparse.entry = MakeFile("segments/" + kId + ".tar", "").entry;
    sparse.entry.type = TarEntryType::kSparse;
    sparse.entry.real_size = segment.size();
    for (std::size_t at = 0; at < segment.size(); at += 512) {
      const ByteView block = ByteView(segment).subspan(at, 512);
      if (std::all_of(block.begin(), block.end(), [](std::byte b) { return b == std::byte{0}; })) {
        continue;
      }
      sparse.entry.runs.push_back({at, 512});
      Append(sparse.data, block);
    }
    shard_[0] = File("segments/" + kId + ".tar", segment);
    const auto wanted = FlattenShard();
    ASSERT_TRUE(wanted.ok()) << wanted.error().ToString();
    shard_[0] = sparse;
    const auto flat = FlattenShard();
    ASSERT_TRUE(flat.ok()) << flat.error().ToString();
    EXPECT_EQ(flat->tar, wanted->tar);
  }
}

TEST_F(NestedTar, AFlatShardTarPassesThrough) {
  const Bytes tar = ReadTestData("shard-hybrid.tar");
  const auto flat = Flatten(tar);
  ASSERT_TRUE(flat.ok()) << flat.error().ToString();
  const auto before = ReadTar(tar);
  const auto after = ReadTar(flat->tar);
  ASSERT_EQ(Paths(*after), Paths(*before));
  for (std::size_t i = 0; i < before->size(); ++i) {
    EXPECT_EQ((*after)[i].data, (*before)[i].data);
    EXPECT_EQ((*after)[i].entry.runs, (*before)[i].entry.runs);
  }
}

TEST_F(NestedTar, ATarThatWasPackedAgainIsRead) {
  for (ReadEntry& e : shard_) e.entry.path.insert(0, "./");
  ReadEntry folder;
  folder.entry.type = TarEntryType::kDirectory;
  for (const char* path : {"./", "./segments/", "./wal/"}) {
    folder.entry.path = path;
    shard_.insert(shard_.begin(), folder);
  }
  const auto flat = FlattenShard();
  ASSERT_TRUE(flat.ok()) << flat.error().ToString();
  EXPECT_EQ(ReadTar(flat->tar)->size(), 11U);
}

TEST_F(NestedTar, AnOuterTarThatEndsShortIsFound) {
  const Bytes tar = WriteNew(shard_);
  for (std::size_t size = 0; size < tar.size(); size += 512) {
    const auto flat = Flatten(ByteView(tar).first(size));
    ASSERT_FALSE(flat.ok()) << size;
    EXPECT_EQ(flat.error().code(), ErrorCode::kDataLoss);
  }
}

TEST_F(NestedTar, AnInnerTarThatEndsShortIsFoundAndNamed) {
  const Bytes segment = SegmentTar(SegmentFiles());
  for (std::size_t size = 0; size < segment.size(); size += 256) {
    shard_[0] = File("segments/" + kId + ".tar", ToBytes(ByteView(segment).first(size)));
    const auto flat = FlattenShard();
    // The padding of the last file is not needed to know that it is whole.
    ASSERT_FALSE(flat.ok()) << size;
    EXPECT_EQ(flat.error().code(), ErrorCode::kDataLoss);
    EXPECT_THAT(flat.error().message(), HasSubstr("'segments/" + kId + ".tar'"));
  }
}

TEST_F(NestedTar, WhatIsMissingIsNamed) {
  const auto without = [this](std::string_view path) {
    shard_ = ShardEntries("", SegmentTar(SegmentFiles()));
    std::erase_if(shard_, [&](const ReadEntry& e) { return e.entry.path.starts_with(path); });
  };
  without("segments/");
  ExpectRefused(ErrorCode::kDataLoss, "has no segment");
  without("wal/");
  ExpectRefused(ErrorCode::kDataLoss, "has no file in wal/");
  without("replica_state.json");
  ExpectRefused(ErrorCode::kDataLoss, "has no replica_state.json");
  without("shard_config.json");
  ExpectRefused(ErrorCode::kDataLoss, "has no shard_config.json");
  without("applied_seq.json");
  EXPECT_TRUE(FlattenShard().ok());
}

TEST_F(NestedTar, ASegmentWithoutItsLastFilesIsRefused) {
  for (const std::size_t left_out : {2, 3}) {
    std::vector<ReadEntry> files = SegmentFiles();
    files.erase(files.begin() + static_cast<std::ptrdiff_t>(left_out));
    shard_[0] = File("segments/" + kId + ".tar", SegmentTar(files));
    ExpectRefused(ErrorCode::kDataLoss, left_out == 2 ? "no segment.json" : "no version.info");
  }
}

TEST_F(NestedTar, WhatDoesNotBelongThereIsRefused) {
  const std::vector<ReadEntry> good = shard_;
  const auto with = [&](const ReadEntry& more) {
    shard_ = good;
    shard_.push_back(more);
  };
  with(good[0]);
  ExpectRefused(ErrorCode::kDataLoss, "the segment is there twice");
  with(MakeFile("replica_state.json", "{}"));
  ExpectRefused(ErrorCode::kDataLoss, "it is there twice");
  with(MakeFile("shard_config.json", std::string(2 << 20, ' ')));
  std::erase_if(shard_, [](const ReadEntry& e) {
    return e.data.size() < 30 && e.entry.path == "shard_config.json";
  });
  ExpectRefused(ErrorCode::kDataLoss, "not a small file");
  with(MakeFile("1/segments/x.tar", ""));
  ExpectRefused(ErrorCode::kDataLoss, "no shard snapshot has this entry");
  with(MakeFile("segments/x", ""));
  ExpectRefused(ErrorCode::kDataLoss, "neither the tar nor the folder");
  with(MakeFile("segments/x/y", ""));
  ExpectRefused(ErrorCode::kDataLoss, "no segment has this entry");
  with(MakeFile("segments/x/files/segment_manifest.json", ""));
  ExpectRefused(ErrorCode::kUnsupported, "partial snapshot");
  with(File("segments/x.tar", SegmentTar({MakeFile("segment.json", "{}")})));
  ExpectRefused(ErrorCode::kUnsupported, "does not lie below snapshot/files/");
  with(MakeFile("segments/.hidden.tar", "junk"));
  EXPECT_TRUE(FlattenShard().ok());
  with(MakeFile("a_file_of_a_later_version.json", "{}"));
  EXPECT_THAT(Paths(*ReadTar(FlattenShard()->tar)),
              ::testing::Contains("a_file_of_a_later_version.json"));
}

TEST_F(NestedTar, ThePartialSnapshotIsRefused) {
  EXPECT_EQ(Flatten(ReadTestData("partial-full.tar")).error().code(), ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace holdfast
