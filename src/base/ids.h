// Strong types for what is named by a number or a text, so that two of them cannot be swapped.

#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

namespace holdfast {

/// A value of type `T` that only converts explicitly. `Tag` tells kinds apart.
template <class Tag, class T>
class StrongId {
 public:
  using Value = T;
  StrongId() = default;
  explicit StrongId(T value) : value_(std::move(value)) {}
  const T& value() const noexcept { return value_; }
  friend auto operator<=>(const StrongId&, const StrongId&) = default;
  friend bool operator==(const StrongId&, const StrongId&) = default;

 private:
  T value_{};
};

/// A backup group: "20261122T032438Z-9f8a7b6c5d4e3f2a" (instant it was begun, UTC, and 64 random
/// bits). Sorts by time; unique without any coordination.
using GroupId = StrongId<struct GroupTag, std::string>;
/// A peer of the database cluster. Qdrant draws it from 1..2^53 (reference 1.1).
using PeerId = StrongId<struct PeerTag, std::uint64_t>;
/// A shard within a collection.
using ShardId = StrongId<struct ShardTag, std::uint32_t>;

}  // namespace holdfast

template <class Tag, class T>
struct std::hash<holdfast::StrongId<Tag, T>> {
  std::size_t operator()(const holdfast::StrongId<Tag, T>& id) const {
    return std::hash<T>()(id.value());
  }
};
