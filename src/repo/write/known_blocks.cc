#include "repo/write/known_blocks.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <span>
#include <type_traits>

#include "base/assert.h"

namespace holdfast {

void KnownBlocks::Free::operator()(Slot* slots) const noexcept { std::free(slots); }

KnownBlocks::KnownBlocks(std::size_t blocks_max)
    : bucket_count_(std::bit_ceil(std::max<std::size_t>(blocks_max / kBucketSlots, 1))),
      // Zero pages of the kernel: free slots, and no memory before they are written to.
      slots_(static_cast<Slot*>(std::calloc(bucket_count_ * kBucketSlots, sizeof(Slot)))) {
  static_assert(std::is_trivially_copyable_v<Slot> && sizeof(Slot) <= 64);
  HF_ASSERT(slots_ != nullptr);
}

KnownBlocks::Slot* KnownBlocks::BucketOf(const Digest& name) const noexcept {
  // Names are digests: any part of them is evenly spread.
  std::uint64_t hash = 0;
  std::memcpy(&hash, name.data(), sizeof hash);
  return slots_.get() + (hash & (bucket_count_ - 1)) * kBucketSlots;
}

std::optional<KnownBlock> KnownBlocks::Find(const Digest& name) const {
  const std::scoped_lock lock(mutex_);
  const std::span bucket(BucketOf(name), kBucketSlots);
  for (const Slot& slot : bucket) {
    if (slot.stamp != 0 && slot.name == name) return slot.block;
  }
  return std::nullopt;
}

void KnownBlocks::Insert(const Digest& name, const KnownBlock& block) {
  const std::scoped_lock lock(mutex_);
  const std::span bucket(BucketOf(name), kBucketSlots);
  Slot* oldest = bucket.data();
  for (Slot& slot : bucket) {
    if (slot.stamp != 0 && slot.name == name) return;
    if (slot.stamp < oldest->stamp) oldest = &slot;
  }
  if (oldest->stamp == 0) ++size_;
  *oldest = {.name = name, .block = block, .stamp = next_stamp_++};
  if (next_stamp_ == 0) next_stamp_ = 1;
}

std::size_t KnownBlocks::size() const {
  const std::scoped_lock lock(mutex_);
  return size_;
}

}  // namespace holdfast
