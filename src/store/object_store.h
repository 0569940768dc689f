// The one seam between a repository and the place that keeps its bytes.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"
#include "base/size.h"

namespace holdfast {

/// Half-open: the `size` bytes from `offset`.
struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

struct StoredObject {
  std::string key;
  std::uint64_t size = 0;
  /// When it was last put, by the store's own clock and in the store's own resolution (a second on
  /// S3). Only differences between two of one store mean anything.
  WallTime last_modified;
};

/// The bytes of an object as one or several views, in order; they must outlive the call.
class ObjectBody {
 public:
  ObjectBody(ByteView whole) : parts_{whole} {}                          // NOLINT(*-explicit-*)
  ObjectBody(const Bytes& whole) : parts_{ByteView(whole)} {}            // NOLINT(*-explicit-*)
  ObjectBody(std::vector<ByteView> parts) : parts_(std::move(parts)) {}  // NOLINT(*-explicit-*)

  const std::vector<ByteView>& parts() const noexcept { return parts_; }
  std::uint64_t size() const noexcept;
  /// A copy in one piece.
  Bytes Joined() const;
  /// True when the bytes are the same, wherever the parts are cut.
  bool Equals(ByteView other) const noexcept;

 private:
  std::vector<ByteView> parts_;
};

enum class PutMode {
  kReplace,
  /// Only when there is no such object yet.
  kIfAbsent,
};

/// Flat storage of objects by key: a bucket and prefix, a directory, a map.
///
/// Every implementation promises, and testing/object_store_contract.h checks:
///  - Put is all or nothing. No reader ever sees part of an object, nor a mixture of two.
///  - An object is durable, and Get, Stat and List see it, once Put has returned OK.
///  - kIfAbsent never overwrites: all but one of several racing writers get kAlreadyExists. (An S3
///    server that ignores conditions breaks this one; ProbeStore tells. Nothing that keeps
///    data safe may rely on it.)
///  - List gives keys in ascending byte order.
///  - Every call can be made again from its arguments alone.
/// Not promised: that a delete survives a power cut of the machine that keeps the store.
///
/// A key is what IsValidKey() accepts; other keys are kInvalidArgument everywhere. No key may be
/// another key and "/" and more ("a" and "a/b"): a put that breaks this fails with kInvalidArgument
/// or is possible, as the store is.
///
/// Errors of every call: kCancelled and kDeadlineExceeded when `call` ended; kUnavailable where the
/// same call may succeed later (after one of these a put or delete may have taken effect);
/// kPermissionDenied; kResourceExhausted (no room); kFailedPrecondition where somebody must act (no
/// such bucket, clocks apart). Messages name the store and the key.
///
/// Safe for use from many threads and, for stores outside the process, from many processes.
class ObjectStore {
 public:
  /// Objects are at most this large, so that a put is one request and a caller can hold one whole.
  static constexpr std::uint64_t kObjectSizeMax = 64 * kMiB;
  static constexpr std::size_t kListPageMax = 1000;
  static constexpr std::size_t kKeySizeMax = 512;

  virtual ~ObjectStore() = default;

  /// kAlreadyExists with kIfAbsent; kInvalidArgument above kObjectSizeMax.
  virtual Status Put(const CallContext& call, std::string_view key, const ObjectBody& body,
                     PutMode mode) = 0;

  /// The whole object, or exactly `range` of it. kNotFound; kInvalidArgument when `range` is not
  /// all inside; kResourceExhausted when what is asked for is larger than kObjectSizeMax.
  virtual Result<Bytes> Get(const CallContext& call, std::string_view key,
                            std::optional<ByteRange> range = std::nullopt) = 0;

  /// kNotFound.
  virtual Result<StoredObject> Stat(const CallContext& call, std::string_view key) = 0;

  /// The first kListPageMax objects whose keys begin with `prefix` and are above `after`, which may
  /// be empty. A shorter page is the last one. `prefix` is a text, not a folder: "a/b" finds
  /// "a/bc".
  virtual Result<std::vector<StoredObject>> List(const CallContext& call, std::string_view prefix,
                                                 std::string_view after) = 0;

  /// OK when the object is gone, whether or not it was there.
  virtual Status Delete(const CallContext& call, std::string_view key) = 0;

  /// For messages, without secrets: "directory /srv/backups", "s3://bucket/prefix at host".
  virtual std::string Describe() const = 0;
};

/// 1 to kKeySizeMax characters of printable ASCII without backslash, in segments of 1 to 200
/// characters between slashes, none of which begins with a dot.
bool IsValidKey(std::string_view key) noexcept;

/// kInvalidArgument naming `key` unless it is valid.
Status CheckKey(std::string_view key);

/// kInvalidArgument naming `key` when the body is larger than kObjectSizeMax or the key not valid.
Status CheckPut(std::string_view key, const ObjectBody& body);

/// kInvalidArgument unless `range` lies inside an object of `size` bytes; kResourceExhausted when
/// the answer (the whole object without `range`) would be larger than kObjectSizeMax. Else the
/// range to read.
Result<ByteRange> CheckRange(std::string_view key, std::optional<ByteRange> range,
                             std::uint64_t size);

}  // namespace holdfast
