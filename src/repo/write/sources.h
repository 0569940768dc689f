// Where an attempt looks for blocks that are stored already: groups, and attempts that broke off.

#pragma once

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "repo/pack_presence.h"
#include "repo/write/batch.h"
#include "repo/write/group_core.h"
#include "repo/write/parent_image.h"

namespace holdfast {

/// Thread-safe after Load.
class BlockSources {
 public:
  explicit BlockSources(GroupCore& core) : core_(core) {}

  /// Reads the manifests of the parents and the lists of the broken attempts, and fills the table
  /// of known blocks from the footers of the latter's newest packs. What is damaged or gone is left
  /// out with a warning.
  Status Load(const CallContext& call, const std::vector<GroupId>& parents,
              const std::vector<GroupId>& broken_attempts);

  /// The images to compare an image of that label with: of the newest broken attempt that finished
  /// one, and of the newest parent that has one.
  Result<std::array<std::shared_ptr<ParentImage>, kParentsMax>> ParentsOf(const CallContext& call,
                                                                          std::string_view label);

 private:
  struct BrokenAttempt {
    GroupId group;
    /// Heads of images by the first half of their id.
    std::multimap<std::string, std::string, std::less<>> heads;
  };

  Status LoadParent(const CallContext& call, const GroupId& group);
  Status LoadHeads(const CallContext& call, const GroupId& group);
  Status LoadFooters(const CallContext& call, const GroupId& group);
  Status LoadDamage(const CallContext& call);
  Result<bool> MayBorrow(const CallContext& call, const GroupId& attempt, const PackId& pack);
  Result<std::shared_ptr<ParentImage>> LoadImage(const CallContext& call, const std::string& key,
                                                 std::string_view label);
  /// OK for what only costs space, with a warning; the error otherwise.
  Status LeaveOut(const Error& error, std::string_view what);

  GroupCore& core_;
  std::unordered_map<std::string, std::string> image_of_label_;
  std::vector<BrokenAttempt> broken_;
  /// Keys of packs that a verification found damaged.
  std::set<std::string, std::less<>> damaged_packs_;

  std::mutex mutex_;
  std::map<std::string, PackPresence> presence_;
};

}  // namespace holdfast
