// The part of the catalog that mirrors repositories. Losing it loses nothing: `catalog rebuild`
// writes it again.

#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "catalog/records.h"

namespace holdfast {

/// Thread-safe. Every call may be made again after any error. Errors of all calls: kUnavailable
/// (the database cannot be reached, or is too busy), kInvalidArgument (a member is too long or not
/// JSON), and those of the call's own.
class GroupCatalog {
 public:
  virtual ~GroupCatalog() = default;

  /// Remembers a repository, or that it is still there and where.
  virtual Status SeeRepository(const CallContext& call, const RepositoryRecord& repository) = 0;

  /// All repositories seen, by id; at most kPageRowsMax.
  virtual Result<std::vector<RepositoryRecord>> ListRepositories(const CallContext& call) = 0;

  /// Records a group, or replaces its record. kFailedPrecondition unless its repository was seen.
  virtual Status PutGroup(const CallContext& call, const GroupRecord& group) = 0;

  /// The same for several groups in one transaction; at most kPageRowsMax, of one repository, whose
  /// summaries together stay below kDocumentBytesMax.
  virtual Status PutGroups(const CallContext& call, std::span<const GroupRecord> groups) = 0;

  /// With its summary. Nothing when there is no such record.
  virtual Result<std::optional<GroupRecord>> FindGroup(const CallContext& call,
                                                       std::string_view repository_id,
                                                       const GroupId& id) = 0;

  /// Newest cut first, without summaries. `limit` is 1 to kPageRowsMax; `after` is the last record
  /// of the page before.
  virtual Result<std::vector<GroupRecord>> ListGroups(const CallContext& call,
                                                      const GroupFilter& filter, std::size_t limit,
                                                      const std::optional<GroupCursor>& after) = 0;

  /// Removes the record of a group that prune has deleted. OK when there is none.
  virtual Status DropGroup(const CallContext& call, std::string_view repository_id,
                           const GroupId& id) = 0;

  /// Rebuild: BeginRebuild, then list the repository and PutGroups everything in it, then
  /// FinishRebuild, which removes the records that were not put since. Readers see old and new
  /// records in between, never an empty catalog; a group recorded by a backup that ends meanwhile
  /// survives. An unfinished rebuild does no harm. The number returned names the rebuild.
  /// kFailedPrecondition unless the repository was seen.
  virtual Result<std::uint64_t> BeginRebuild(const CallContext& call,
                                             std::string_view repository_id) = 0;

  /// Returns how many records were removed. kAborted when a later rebuild has begun since.
  virtual Result<std::uint64_t> FinishRebuild(const CallContext& call,
                                              std::string_view repository_id,
                                              std::uint64_t rebuild) = 0;
};

}  // namespace holdfast
