// The packs that this attempt may name by number: those it writes, and those of broken attempts.

#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "base/assert.h"
#include "base/ids.h"
#include "repo/format/keys.h"
#include "repo/write/outbox.h"

namespace holdfast {

/// Only grows: 48 bytes a pack, 3 MiB for a TiB of new data. Thread-safe.
class PackDirectory {
 public:
  struct Entry {
    /// Index into the attempts, 0 is our own.
    std::uint32_t attempt = 0;
    PackId id{};
    /// Of a pack of our own; 0 when it is durable since long.
    ObjectNumber number = 0;
  };

  explicit PackDirectory(GroupId own) { attempts_.push_back(std::move(own)); }

  std::uint32_t AddAttempt(GroupId attempt) {
    const std::scoped_lock lock(mutex_);
    attempts_.push_back(std::move(attempt));
    return static_cast<std::uint32_t>(attempts_.size() - 1);
  }
  std::uint32_t Add(const Entry& entry) {
    const std::scoped_lock lock(mutex_);
    HF_ASSERT(entry.attempt < attempts_.size());
    entries_.push_back(entry);
    return static_cast<std::uint32_t>(entries_.size() - 1);
  }
  Entry At(std::uint32_t index) const {
    const std::scoped_lock lock(mutex_);
    return entries_.at(index);
  }
  GroupId AttemptOf(std::uint32_t attempt) const {
    const std::scoped_lock lock(mutex_);
    return attempts_.at(attempt);
  }

 private:
  mutable std::mutex mutex_;
  std::vector<GroupId> attempts_;
  std::vector<Entry> entries_;
};

}  // namespace holdfast
