// Which packs of an attempt are there: looked up before borrowing, and again before the manifest.

#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "repo/format/keys.h"

namespace holdfast {

class ObjectStore;

/// The first 8 bytes of a pack's id as a big-endian number: ordered as keys are. Ids are random, so
/// that no two packs of an attempt share it.
constexpr std::uint64_t PackPrefix(const PackId& id) noexcept {
  std::uint64_t prefix = 0;
  for (std::size_t i = 0; i < 8; ++i) prefix = prefix << 8 | std::to_integer<std::uint64_t>(id[i]);
  return prefix;
}

/// The packs of one attempt as the store lists them: 8 bytes each.
class PackPresence {
 public:
  /// `prefixes` in ascending order.
  explicit PackPresence(std::vector<std::uint64_t> prefixes) : prefixes_(std::move(prefixes)) {}
  static Result<PackPresence> List(const CallContext& call, ObjectStore& store,
                                   const GroupId& group);

  bool Contains(const PackId& id) const noexcept { return Contains(PackPrefix(id)); }
  bool Contains(std::uint64_t prefix) const noexcept;
  std::size_t size() const noexcept { return prefixes_.size(); }

 private:
  std::vector<std::uint64_t> prefixes_;
};

}  // namespace holdfast
