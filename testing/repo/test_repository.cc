#include "testing/repo/test_repository.h"

#include <atomic>
#include <cstring>
#include <thread>

#include "base/assert.h"
#include "base/clock.h"
#include "model/group.h"
#include "stream/digest.h"
#include "stream/tar_writer.h"
#include "testing/stream/tar_tools.h"

namespace holdfast::testing {
namespace {

Secret PasswordFor(Sealing sealing) {
  return sealing == Sealing::kNone ? Secret() : Secret::FromText(kTestPassword);
}

/// Passes events on and keeps the digest of the tar.
class HashingSink final : public ByteSink {
 public:
  explicit HashingSink(ByteSink& next) : next_(next) {}
  Status Write(const CallContext& call, ByteView bytes) override {
    sha256_.Update(bytes);
    return next_.Write(call, bytes);
  }
  Digest Finish() { return sha256_.Finish(); }

 private:
  ByteSink& next_;
  Sha256 sha256_;
};

}  // namespace

Status InitRepository(ObjectStore& store, Sealing sealing) {
  return Repository::Init({}, store,
                          {.sealing = sealing, .password = PasswordFor(sealing), .kdf = kCheapKdf});
}

Result<std::unique_ptr<Repository>> OpenRepository(ObjectStore& store, Sealing sealing) {
  return Repository::Open({}, store, {.sealing = sealing, .password = PasswordFor(sealing)});
}

std::unique_ptr<Repository> NewRepository(ObjectStore& store, Sealing sealing) {
  HF_ASSERT(InitRepository(store, sealing).ok());
  auto repository = OpenRepository(store, sealing);
  HF_ASSERT(repository.ok());
  return *std::move(repository);
}

GroupId NextGroupId() {
  static std::atomic<std::uint64_t> count = 0;
  const WallTime begin = WallTime(std::chrono::seconds(1'795'317'878));
  const std::uint64_t number = ++count;
  return MakeGroupId(begin + std::chrono::seconds(number), number);
}

Result<ImageRef> WriteImage(GroupWriter& writer, const TestShard& shard, WhenFull when_full,
                            const CallContext& call) {
  HF_TRY(const auto image,
         writer.BeginImage(call, {.label = shard.label, .room = {}, .when_full = when_full}));
  TarReader reader(*image);
  HashingSink sink(reader);
  ByteView rest(shard.tar);
  while (!rest.empty()) {
    const ByteView slice = rest.first(std::min<std::size_t>(rest.size(), 60'000));
    HF_RETURN_IF_ERROR(sink.Write(call, slice));
    rest = rest.subspan(slice.size());
  }
  HF_TRY(const TarEnd end, reader.Finish());
  return image->Finish(call, end, sink.Finish(), R"({"note":1})");
}

Result<TestBackupResult> Backup(Repository& repository, const TestBackup& backup,
                                const CallContext& call) {
  const GroupId group = backup.group.value_or(NextGroupId());
  std::vector<GroupId> relies_on = backup.parents;
  relies_on.insert(relies_on.end(), backup.broken_attempts.begin(), backup.broken_attempts.end());
  HF_TRY(const auto intent,
         Intent::Declare(call, repository,
                         {.purpose = "backup", .own = group, .relies_on = relies_on}));
  HF_TRY(const auto writer, GroupWriter::Begin(call, repository, *intent, TestPool(),
                                               {.group = group,
                                                .parents = backup.parents,
                                                .broken_attempts = backup.broken_attempts,
                                                .spool_directory = backup.spool_directory,
                                                .spool_bytes_max = backup.spool_bytes_max,
                                                .upload_threads = 2,
                                                .known_blocks_max = backup.known_blocks_max}));
  if (backup.at_once) {
    std::vector<std::optional<Error>> errors(backup.shards.size());
    {
      std::vector<std::jthread> threads;
      for (std::size_t i = 0; i < backup.shards.size(); ++i) {
        threads.emplace_back([&, i] {
          const auto written = WriteImage(*writer, backup.shards[i], backup.when_full, call);
          if (!written.ok()) errors[i] = written.error();
        });
      }
    }
    for (const auto& error : errors) {
      if (error) return *error;
    }
  } else {
    for (const TestShard& shard : backup.shards) {
      HF_RETURN_IF_ERROR(WriteImage(*writer, shard, backup.when_full, call));
    }
  }
  HF_RETURN_IF_ERROR(writer->PutCollection(call, 0, backup.record));
  if (backup.before_commit) HF_RETURN_IF_ERROR(backup.before_commit(*writer));
  HF_RETURN_IF_ERROR(writer->Commit(call, backup.body));
  TestBackupResult result{.group = group, .stats = writer->stats(), .warnings = writer->warnings()};
  HF_RETURN_IF_ERROR(intent->Release(call));
  return result;
}

Result<Bytes> ReadAll(ByteSource& source, const CallContext& call) {
  Bytes out;
  Bytes buffer(100'000);
  for (;;) {
    HF_TRY(const std::size_t got, source.Read(call, buffer));
    if (got == 0) return out;
    Append(out, ByteView(buffer).first(got));
  }
}

Result<Bytes> RestoreTar(Repository& repository, const GroupId& group, std::string_view label,
                         const ImageReadOptions& options) {
  HF_TRY(const GroupEnvelope envelope, repository.ReadManifest({}, group));
  const ImageRef* ref = envelope.FindImage(label);
  if (ref == nullptr) return Error(ErrorCode::kNotFound, "no image " + std::string(label));
  HF_TRY(const auto image, ImageReader::Open({}, repository, ref->key));
  if (image->ref() != *ref) return Error(ErrorCode::kDataLoss, "head and manifest differ");
  HF_TRY(const auto tar, image->OpenTar({}, options));
  return ReadAll(*tar);
}

Status CheckEveryGroup(Repository& repository) {
  HF_TRY(const auto groups, repository.ListGroups({}));
  for (const GroupInfo& info : groups) {
    HF_TRY(const GroupEnvelope envelope, repository.ReadManifest({}, info.group));
    for (const ImageRef& image : envelope.images) {
      // Compares the SHA-256 itself.
      HF_TRY(const Bytes tar, RestoreTar(repository, info.group, image.label));
      if (tar.size() != image.bytes) return Error(ErrorCode::kDataLoss, "short " + image.label);
    }
    for (const RecordRef& record : envelope.records) {
      HF_RETURN_IF_ERROR(repository.ReadCollection({}, envelope, record.number));
    }
  }
  return {};
}

Bytes Noise(std::size_t size, std::uint64_t seed) {
  Random random(seed + 1);
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; i += sizeof(std::uint64_t)) {
    const std::uint64_t value = random.Next();
    std::memcpy(bytes.data() + i, &value, std::min(sizeof value, size - i));
  }
  return bytes;
}

Bytes MakeTar(const std::vector<std::pair<std::string, Bytes>>& files) {
  std::vector<ReadEntry> entries;
  for (const auto& [path, content] : files) entries.push_back(MakeFile(path, AsText(content)));
  return WriteNew(entries);
}

CpuPool& TestPool() {
  static CpuPool pool(SystemClock(), 2, 16);
  return pool;
}

}  // namespace holdfast::testing
