// A repository for tests, and what a backup and a restore are without a database.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/random.h"
#include "exec/cpu_pool.h"
#include "repo/group_writer.h"
#include "repo/image_reader.h"
#include "repo/intent.h"
#include "repo/repository.h"
#include "store/object_store.h"
#include "testing/memory_object_store.h"

namespace holdfast::testing {

/// What a password costs in tests.
constexpr Argon2Cost kCheapKdf = kArgon2CostMin;
constexpr std::string_view kTestPassword = "correct horse battery staple";

/// Init and Open with the test password (none for Sealing::kNone).
Status InitRepository(ObjectStore& store, Sealing sealing);
Result<std::unique_ptr<Repository>> OpenRepository(ObjectStore& store, Sealing sealing);
/// Both; a failure ends the test program.
std::unique_ptr<Repository> NewRepository(ObjectStore& store, Sealing sealing);

/// A shard to back up.
struct TestShard {
  std::string label;
  Bytes tar;
};

struct TestBackup {
  std::vector<TestShard> shards = {};
  /// Groups to rely on, newest first.
  std::vector<GroupId> parents = {};
  std::vector<GroupId> broken_attempts = {};
  std::string body = R"({"what":"a test"})";
  /// Content of collection record 0.
  std::string record = R"({"collection":"docs"})";
  /// The id to take; drawn when empty.
  std::optional<GroupId> group = {};
  std::string spool_directory = {};
  std::uint64_t spool_bytes_max = std::uint64_t{64} << 20;
  std::size_t known_blocks_max = 4096;
  WhenFull when_full = WhenFull::kWait;
  /// Shards that are written at once.
  bool at_once = false;
  /// Called before Commit.
  std::function<Status(GroupWriter&)> before_commit = {};
};

struct TestBackupResult {
  GroupId group;
  GroupStats stats;
  std::vector<std::string> warnings;
};

/// A fresh group id: later ones are greater.
GroupId NextGroupId();

/// Feeds one tar to an image through a TarReader and finishes it.
Result<ImageRef> WriteImage(GroupWriter& writer, const TestShard& shard, WhenFull when_full,
                            const CallContext& call = {});

/// Intent, images, one collection record, manifest.
Result<TestBackupResult> Backup(Repository& repository, const TestBackup& backup,
                                const CallContext& call = {});

/// The tar of the image with that label.
Result<Bytes> RestoreTar(Repository& repository, const GroupId& group, std::string_view label,
                         const ImageReadOptions& options = {});
Result<Bytes> ReadAll(ByteSource& source, const CallContext& call = {});

/// Every group that is listed can be read and restored whole: the digests of its tars and records
/// are those recorded. The first error otherwise.
Status CheckEveryGroup(Repository& repository);

/// `size` bytes that do not compress.
Bytes Noise(std::size_t size, std::uint64_t seed);
/// A tar of regular files: path and content.
Bytes MakeTar(const std::vector<std::pair<std::string, Bytes>>& files);

/// The pool that all tests share.
CpuPool& TestPool();

}  // namespace holdfast::testing
