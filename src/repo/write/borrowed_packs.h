// The packs of other attempts that the images of this one name.

#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "repo/format/keys.h"

namespace holdfast {

class ObjectStore;

/// 8 bytes a pack, 0.5 MiB for a TiB of borrowed data. Thread-safe.
class BorrowedPacks {
 public:
  void Add(const GroupId& attempt, const PackId& pack);
  /// The attempts borrowed from, ascending.
  std::vector<GroupId> Attempts() const;
  /// kAborted naming the first one that the store does not list any more: the backup has to be made
  /// again, and will store those blocks anew.
  Status CheckPresent(const CallContext& call, ObjectStore& store);

 private:
  struct Prefixes {
    std::vector<std::uint64_t> list;
    std::size_t unique_size = 0;
    void MakeUnique();
  };
  mutable std::mutex mutex_;
  std::map<std::string, Prefixes> attempts_;
};

}  // namespace holdfast
