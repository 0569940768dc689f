// A directory as object store: local disk, or a network file system.

#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "store/object_store.h"

namespace holdfast {

/// The steps of a put, in order. Tests make them fail or end the process before one.
enum class DirectoryStep {
  kCreateTemporary,
  kWrite,
  kSyncFile,
  kPublish,
  kRemoveTemporary,
  kSyncDirectory,
};

struct DirectoryStoreOptions {
  /// Makes the directory, mode 0700, when it is not there. Off for everything but `init`: a missing
  /// directory is more likely a disk that is not mounted.
  bool create = false;
  /// Off: as on a file system that has no rename that never replaces (NFS). Tests only.
  bool rename_without_replace = true;
  /// Called before each step; a value other than 0 makes the step fail with that errno. Tests only.
  std::function<int(DirectoryStep, const std::string& path)> fault = {};
};

/// The key is the path below the root. Files are made with mode 0600 and directories with 0700.
///
/// A put writes a temporary file below "<root>/.holdfast-tmp", syncs it, gives it its name (rename,
/// or for kIfAbsent a rename or link that never replaces), and syncs every directory on the way. A
/// crash leaves at most such a temporary file, which no call sees and RemoveLeftovers removes.
/// Names that begin with a dot, and all that is no regular file, are not objects.
class DirectoryStore final : public ObjectStore {
 public:
  /// `root` is an absolute path; `clock` is the one that deadlines are meant by. kNotFound when it
  /// is not there, kPermissionDenied, kInvalidArgument when it is no directory.
  static Result<std::unique_ptr<DirectoryStore>> Open(Clock& clock, std::string root,
                                                      DirectoryStoreOptions options = {});
  ~DirectoryStore() override;
  DirectoryStore(const DirectoryStore&) = delete;
  DirectoryStore& operator=(const DirectoryStore&) = delete;

  Status Put(const CallContext& call, std::string_view key, const ObjectBody& body,
             PutMode mode) override;
  Result<Bytes> Get(const CallContext& call, std::string_view key,
                    std::optional<ByteRange> range = std::nullopt) override;
  Result<StoredObject> Stat(const CallContext& call, std::string_view key) override;
  Result<std::vector<StoredObject>> List(const CallContext& call, std::string_view prefix,
                                         std::string_view after) override;
  Status Delete(const CallContext& call, std::string_view key) override;
  std::string Describe() const override;

  /// Removes temporary files of writers that are gone (nobody holds their lock), of any process and
  /// machine. Returns how many.
  Result<std::size_t> RemoveLeftovers(const CallContext& call);

  /// Bytes that this user may still write, as the file system says.
  Result<std::uint64_t> FreeBytes() const;

 private:
  class Temporary;
  DirectoryStore(Clock& clock, std::string root, int root_fd, DirectoryStoreOptions options);

  Status Step(DirectoryStep step, const std::string& path) const;
  Error Failed(std::string_view doing, const std::string& path, int error_number) const;
  Result<std::unique_ptr<Temporary>> CreateTemporary() const;
  Status Write(const CallContext& call, Temporary& file, const ObjectBody& body) const;
  Status Publish(Temporary& file, const std::string& path, PutMode mode) const;
  Status MakeDirectories(const std::string& path);
  Status SyncDirectory(const std::string& path) const;

  Clock& clock_;
  const std::string root_;
  const int root_fd_;
  const DirectoryStoreOptions options_;

  std::mutex mutex_;
  /// Directories whose own names are known to be durable. At most kDurableDirectoriesMax.
  std::unordered_set<std::string> durable_directories_;
};

}  // namespace holdfast
