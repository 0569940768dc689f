// Ten streams at once, each with a parent of ten million blocks, in bounded memory: the peak of a
// process that does nothing else, as the kernel counted it. A sanitizer's memory would say nothing.

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>

#include "repo/format/document.h"
#include "repo/format/group_json.h"
#include "repo/format/image_format.h"
#include "repo/group_writer.h"
#include "repo/pack_presence.h"
#include "store/directory_store.h"
#include "store/forwarding_store.h"
#include "stream/codec.h"
#include "stream/tar_writer.h"
#include "testing/repo/test_repository.h"
#include "testing/temp_folder.h"

namespace holdfast {
namespace {

using namespace holdfast::testing;

constexpr std::size_t kStreams = 10;
constexpr std::size_t kFiles = 10;
constexpr std::uint64_t kParentBlocks = 10'000'000;
constexpr std::uint64_t kBlocksPerFile = kParentBlocks / kFiles;
constexpr std::uint64_t kBlocksPerPack = 128;
constexpr std::uint64_t kParentPacks = (kParentBlocks + kBlocksPerPack - 1) / kBlocksPerPack;
constexpr std::uint64_t kBlock = 128 * kKiB;
/// Of each file, as the parent has it, and behind it as much that is new.
constexpr std::size_t kKnownBytes = 8 * kMiB;
constexpr std::size_t kNewBytes = 2 * kMiB;
constexpr std::uint64_t kPeakMax = 256 * kMiB;

const GroupId kParent("20261101T000000Z-00000000000000aa");
/// The attempt whose packs the parent names.
const GroupId kOwner("20261031T000000Z-00000000000000bb");

std::uint64_t PeakBytes() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) * kKiB;
  }
  return 0;
}

PackId PackNumber(std::uint64_t number) {
  PackId id{};
  for (std::size_t i = 0; i < 8; ++i) id[i] = static_cast<std::byte>(number >> (56 - 8 * i));
  return id;
}

/// The group kParent as it would be: ten images of ten million blocks, whose lists are made when
/// they are asked for. Everything else is a real store's.
class SyntheticStore final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;

  /// The names of the blocks that the streams will show again.
  void SetKeys(const KeyRing& keys, ByteView known) {
    keys_ = &keys;
    for (std::size_t at = 0; at < known.size(); at += kBlock) {
      names_.push_back(keys.NameBlock(known.subspan(at, kBlock)));
    }
  }

  BlockRecord RecordOf(std::uint64_t block) const {
    const std::uint64_t in_file = block % kBlocksPerFile;
    BlockRecord record;
    if (in_file < names_.size()) {
      record.block.name = names_[in_file];
    } else {
      std::memcpy(record.block.name.data(), &block, sizeof block);
    }
    record.block.plain_size = kBlock;
    record.pack = static_cast<std::uint32_t>(block / kBlocksPerPack);
    record.place.position = static_cast<std::uint32_t>(block % kBlocksPerPack);
    record.place.offset = 16 + record.place.position * 131'088;
    record.place.sealed_size = 131'088;
    record.file_offset = in_file * kBlock;
    return record;
  }
  Bytes Chunk(std::uint64_t chunk) const {
    Bytes bytes;
    const std::uint64_t end = std::min((chunk + 1) * kRecordsPerChunk, kParentBlocks);
    for (std::uint64_t block = chunk * kRecordsPerChunk; block < end; ++block) {
      AppendBlockRecord(bytes, RecordOf(block));
    }
    return bytes;
  }

  Result<Bytes> Get(const CallContext& call, std::string_view key,
                    std::optional<ByteRange> range) override {
    const auto parsed = ParseKey(key);
    if (!parsed || parsed->group != kParent || parsed->kind != KeyKind::kBlockPart) {
      return base_.Get(call, key, range);
    }
    ++chunks_read;
    // A salt of zeros: the same document every time.
    class Zeros final : public SecureRandom {
     public:
      void Fill(std::span<std::byte> out) override { std::ranges::fill(out, std::byte{0}); }
    } zeros;
    DocumentWriter writer(*keys_, zeros, key);
    writer.AddChunk(Chunk(parsed->number), true);
    const Bytes object = writer.Take();
    return ToBytes(ByteView(object).subspan(range->offset, range->size));
  }
  Result<std::vector<StoredObject>> List(const CallContext& call, std::string_view prefix,
                                         std::string_view after) override {
    if (prefix != PacksFolderOf(kOwner)) return base_.List(call, prefix, after);
    std::uint64_t next = 0;
    if (!after.empty()) next = PackPrefix(ParseKey(after)->pack) + 1;
    std::vector<StoredObject> page;
    for (; next < kParentPacks && page.size() < kListPageMax; ++next) {
      page.push_back({.key = PackKey(kOwner, PackNumber(next)),
                      .size = kPackBytesWanted,
                      .last_modified = {}});
    }
    return page;
  }
  std::string Describe() const override { return "synthetic"; }

  std::atomic<std::uint64_t> chunks_read = 0;

 private:
  const KeyRing* keys_ = nullptr;
  std::vector<Digest> names_;
};

std::string Label(std::size_t stream) { return "shard " + std::to_string(stream); }
std::string Path(std::size_t file) { return "segments/file " + std::to_string(file); }

/// Manifest and heads of the synthetic parent.
void WriteParent(Repository& repository, const SyntheticStore& store) {
  ImageHead head;
  head.bytes = kParentBlocks * kBlock;
  head.files = kFiles;
  head.blocks = kParentBlocks;
  const std::uint32_t owner = head.packs.AddGroup(kOwner);
  for (std::uint64_t pack = 0; pack < kParentPacks; ++pack) head.packs.Add(owner, PackNumber(pack));
  for (std::uint64_t chunk = 0; chunk < kParentBlocks / kRecordsPerChunk; ++chunk) {
    Bytes frame;
    ZstdCompress(store.Chunk(chunk), 3, frame);
    head.block_list.parts.push_back(
        {.salt = {}, .chunks = {static_cast<std::uint32_t>(frame.size() + Sealer::kTagBytes)}});
  }
  head.block_list.rest = store.Chunk(kParentBlocks / kRecordsPerChunk);
  for (std::size_t file = 0; file < kFiles; ++file) {
    AppendFileRecord(head.file_list.rest, {.headers = {},
                                           .path = Path(file),
                                           .real_size = kBlocksPerFile * kBlock,
                                           .stored_size = kBlocksPerFile * kBlock,
                                           .first_block = file * kBlocksPerFile,
                                           .block_count = kBlocksPerFile,
                                           .padding = {}});
  }
  GroupEnvelope envelope;
  envelope.group = kParent;
  envelope.body = "{}";
  for (std::size_t stream = 0; stream < kStreams; ++stream) {
    head.label = Label(stream);
    const std::string key = ImageKey(kParent, std::string(31, 'a') + std::to_string(stream));
    const Bytes document =
        *SealDocument(repository.keys(), KernelRandom(), key, *WriteImageHead(head));
    ASSERT_TRUE(repository.store().Put({}, key, document, PutMode::kReplace).ok());
    envelope.images.push_back({.key = key, .label = head.label});
  }
  const std::string key = ManifestKey(kParent);
  const std::string text = *WriteManifest(repository.keys().repository(), envelope);
  const Bytes document = *SealDocument(repository.keys(), KernelRandom(), key, AsBytes(text));
  ASSERT_TRUE(repository.store().Put({}, key, document, PutMode::kReplace).ok());
}

/// One stream: files that begin as the parent's and go on with something new.
void FeedStream(GroupWriter& writer, std::size_t stream, ByteView known) {
  const auto image = writer.BeginImage({}, {.label = Label(stream), .when_full = WhenFull::kWait});
  ASSERT_TRUE(image.ok()) << image.error().ToString();
  TarReader reader(**image);
  Sha256 sha256;
  FunctionSink sink([&](const CallContext& call, ByteView bytes) {
    sha256.Update(bytes);
    return reader.Write(call, bytes);
  });
  TarWriter tar(sink);
  for (std::size_t file = 0; file < kFiles; ++file) {
    TarEntry entry;
    entry.path = Path(file);
    entry.mode = 0644;
    entry.real_size = kKnownBytes + kNewBytes;
    entry.runs = {{0, entry.real_size}};
    ASSERT_TRUE(tar.Begin({}, entry).ok());
    for (std::size_t at = 0; at < kKnownBytes; at += 64 * kKiB) {
      ASSERT_TRUE(tar.Data({}, known.subspan(at, 64 * kKiB)).ok());
    }
    for (std::size_t at = 0; at < kNewBytes; at += 64 * kKiB) {
      ASSERT_TRUE(tar.Data({}, Noise(64 * kKiB, (stream * kFiles + file) * kNewBytes + at)).ok());
    }
    ASSERT_TRUE(tar.End({}).ok());
  }
  ASSERT_TRUE(tar.Finish({}).ok());
  const auto finished = (*image)->Finish({}, *reader.Finish(), sha256.Finish(), "{}");
  ASSERT_TRUE(finished.ok()) << finished.error().ToString();
}

/// What the measured process does.
void WriteAndMeasure() {
  const TempFolder folder;
  const auto directory = *DirectoryStore::Open(SystemClock(), folder.path().string());
  SyntheticStore store(*directory);
  const auto repository = NewRepository(store, Sealing::kAes256Gcm);
  const Bytes known = Noise(kKnownBytes, 1);
  store.SetKeys(repository->keys(), known);
  WriteParent(*repository, store);
  const TempFolder spool;
  const GroupId group = NextGroupId();
  const auto intent = *Intent::Declare({}, *repository,
                                       {.purpose = "backup", .own = group, .relies_on = {kParent}});
  const auto writer =
      *GroupWriter::Begin({}, *repository, *intent, TestPool(),
                          {.group = group, .parents = {kParent}, .spool_directory = spool.path()});
  const std::uint64_t before = PeakBytes();
  {
    std::vector<std::jthread> streams;
    for (std::size_t stream = 0; stream < kStreams; ++stream) {
      streams.emplace_back([&, stream] { FeedStream(*writer, stream, known); });
    }
  }
  EXPECT_TRUE(writer->Commit({}, "{}").ok());
  const GroupStats stats = writer->stats();
  EXPECT_EQ(stats.bytes_new, kStreams * kFiles * kNewBytes);
  EXPECT_EQ(stats.blocks_known, kStreams * kFiles * kKnownBytes / kBlock);
  EXPECT_GE(store.chunks_read.load(), kStreams * kFiles);
  const std::uint64_t peak = PeakBytes();
  EXPECT_GT(peak, before);
  EXPECT_LT(peak, kPeakMax);
  std::cerr << "peak " << peak / kMiB << " MiB, before the streams " << before / kMiB
            << " MiB, chunks of parents read " << store.chunks_read.load() << std::endl;
}

int StatusOfThisTest() { return ::testing::Test::HasFailure() ? 1 : 0; }

TEST(MemoryTest, TenStreamsAndParentsOfTenMillionBlocksStayBelow256MiB) {
  // "threadsafe": a new process of this program that runs this statement alone.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT((WriteAndMeasure(), std::exit(StatusOfThisTest())), ::testing::ExitedWithCode(0),
              "peak [0-9]+ MiB");
}

}  // namespace
}  // namespace holdfast

#endif
