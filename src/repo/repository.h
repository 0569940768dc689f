// A repository: backup groups in an object store (docs/design/repository-format.md). It knows no
// database: what is in an image or a record is the caller's.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/secret.h"
#include "repo/group.h"
#include "stream/crypto.h"
#include "stream/sealer.h"

namespace holdfast {

class KeyRing;
class ObjectStore;

/// How a repository is made.
struct InitOptions {
  /// Chosen once; cannot be changed later.
  Sealing sealing = Sealing::kAes256Gcm;
  /// Required for kAes256Gcm, refused for kNone.
  Secret password = {};
  /// What a password costs to try. Opening takes that much memory and time once.
  Argon2Cost kdf{.operations = 4, .memory_bytes = std::uint64_t{128} << 20};
  Clock& clock = SystemClock();
  SecureRandom& random = KernelRandom();
};

/// How a repository is opened.
struct OpenOptions {
  /// What the configuration says; kFailedPrecondition when the repository was made otherwise.
  /// Nothing: take what is recorded.
  std::optional<Sealing> sealing = {};
  /// Required for kAes256Gcm, refused for kNone.
  Secret password = {};
  /// Whoever reads leaves no note (Intent), and whoever would write is refused.
  bool read_only = false;
  Clock& clock = SystemClock();
  SecureRandom& random = KernelRandom();
};

/// Which groups to list.
struct ListOptions {
  bool include_forgotten = false;
};

/// What a repository holds in one folder of keys.
struct RepositoryTotals {
  struct Kind {
    std::uint64_t objects = 0;
    std::uint64_t bytes = 0;
  };
  Kind manifests, records, images, packs, other;
};

/// An open repository. Safe for use from many threads; holds no state but its keys, so that what
/// one process writes another one sees.
class Repository {
 public:
  /// Makes a repository in an empty place. kAlreadyExists when there is one; kInvalidArgument for a
  /// password where none belongs, or none where one does.
  static Status Init(const CallContext& call, ObjectStore& store, const InitOptions& options);
  /// What Init looks at before it writes: kAlreadyExists when there is a repository,
  /// kFailedPrecondition when there are backups that have lost their holdfast.json, and with it the
  /// key: a new file would make it look as if all were well.
  static Status CheckFree(const CallContext& call, ObjectStore& store);

  /// `store` must outlive the repository. kNotFound when there is no repository (the hint says
  /// `init`); kPermissionDenied for a wrong password, or none where one is needed;
  /// kFailedPrecondition when the configured encryption is not the recorded one, or a password is
  /// given for a repository without; kUnsupported for a newer format; kDataLoss when holdfast.json
  /// is damaged.
  static Result<std::unique_ptr<Repository>> Open(const CallContext& call, ObjectStore& store,
                                                  const OpenOptions& options);

  /// Wraps the data key of the repository under another password. Everything stored stays readable;
  /// whoever kept the old holdfast.json and knows the old password still has the key.
  Status ChangePassword(const CallContext& call, const Secret& password, Argon2Cost kdf);

  ~Repository();
  Repository(const Repository&) = delete;
  Repository& operator=(const Repository&) = delete;

  /// 32 hexadecimal digits.
  const std::string& id() const noexcept { return id_; }
  Sealing sealing() const noexcept { return sealing_; }
  std::uint32_t block_bytes() const noexcept { return block_bytes_; }
  WallTime created_at() const noexcept { return created_at_; }
  bool read_only() const noexcept { return read_only_; }

  /// The groups that are complete and not forgotten, in ascending order of their ids, which is the
  /// order of their beginnings. Two list calls a thousand groups, no manifest is read.
  Result<std::vector<GroupInfo>> ListGroups(const CallContext& call,
                                            const ListOptions& options = {});

  /// Attempts without a manifest and without a forget mark, ascending. Their packs save work to the
  /// next backup. One list call an attempt or group.
  Result<std::vector<AttemptInfo>> ListBrokenAttempts(const CallContext& call);

  /// kNotFound when there is no such group (a forgotten one is still read), kDataLoss when its
  /// manifest is damaged.
  Result<GroupEnvelope> ReadManifest(const CallContext& call, const GroupId& group);

  /// The JSON text of record `number` of a group, checked against the digest in `envelope`.
  /// kNotFound when the group has no such record.
  Result<std::string> ReadCollection(const CallContext& call, const GroupEnvelope& envelope,
                                     std::uint32_t number);

  /// Marks a group (or a broken attempt) as forgotten and deletes nothing. `note_json` says who and
  /// why. OK when it is marked already. kNotFound when nothing of that id is there.
  Status Forget(const CallContext& call, const GroupId& group, std::string_view note_json);
  /// The note of a forgotten group; kNotFound when it is not marked.
  Result<std::string> ReadForgetNote(const CallContext& call, const GroupId& group);
  /// True when the group is marked. One call.
  Result<bool> IsForgotten(const CallContext& call, const GroupId& group);

  /// Counts everything by listing it: a list call for every thousand objects.
  Result<RepositoryTotals> CountTotals(const CallContext& call);

  // For the parts of this module.
  ObjectStore& store() const noexcept { return store_; }
  const KeyRing& keys() const noexcept { return *keys_; }
  Clock& clock() const noexcept { return clock_; }
  SecureRandom& random() const noexcept { return random_; }

 private:
  struct Opened;
  Repository(ObjectStore& store, Opened opened, const OpenOptions& options);

  ObjectStore& store_;
  Clock& clock_;
  SecureRandom& random_;
  std::string id_;
  Sealing sealing_;
  std::uint32_t block_bytes_;
  WallTime created_at_;
  bool read_only_;
  std::unique_ptr<KeyRing> keys_;
};

}  // namespace holdfast
