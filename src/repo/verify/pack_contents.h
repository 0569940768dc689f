// What every pack holds, as a verification found it: 8 bytes a block in an unlinked file, 64 bytes
// a pack in memory.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "repo/format/image_format.h"
#include "repo/format/pack.h"

namespace holdfast {

/// Stands for one block of a pack: what a record that names it must agree with. Never 0.
std::uint64_t PackEntryMark(const BlockIdentity& block, const BlockPlace& place);
/// The mark of a damaged block.
constexpr std::uint64_t kDamagedMark = 0;

class PackContents {
 public:
  enum class State : std::uint8_t {
    /// Only looked for.
    kListed,
    /// Its marks are in the table.
    kRead,
    /// Missing or unreadable as a whole.
    kDamaged,
  };

  static Result<std::unique_ptr<PackContents>> Create(const std::string& directory);
  ~PackContents();
  PackContents(const PackContents&) = delete;
  PackContents& operator=(const PackContents&) = delete;

  /// Number of the pack, new or known. Thread-safe.
  std::uint32_t Add(const GroupId& attempt, const PackId& id);
  std::size_t size() const;

  GroupId AttemptOf(std::uint32_t pack) const;
  PackId IdOf(std::uint32_t pack) const;

  /// Each pack's outcome is set once, by one thread.
  void SetDamaged(std::uint32_t pack);
  Status SetRead(std::uint32_t pack, const std::vector<std::uint64_t>& marks);

  State StateOf(std::uint32_t pack) const;
  /// Marks of a pack that was read.
  Result<std::vector<std::uint64_t>> MarksOf(std::uint32_t pack) const;

 private:
  struct Line {
    std::uint32_t attempt = 0;
    PackId id{};
    State state = State::kListed;
    std::uint32_t blocks = 0;
    std::uint64_t offset = 0;
  };
  PackContents(int fd, std::string directory) : fd_(fd), directory_(std::move(directory)) {}

  const int fd_;
  const std::string directory_;
  mutable std::mutex mutex_;
  std::vector<GroupId> attempts_;
  std::vector<Line> lines_;
  /// By the first 8 bytes of the id.
  std::unordered_multimap<std::uint64_t, std::uint32_t> by_prefix_;
  std::uint64_t end_ = 0;
};

}  // namespace holdfast
