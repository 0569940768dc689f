#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "catalog/sql_catalog.h"
#include "catalog/sql_rows.h"

namespace holdfast::sql {
namespace {

/// FinishRebuild removes at most so many records in one transaction.
constexpr std::int64_t kSweepRowsMax = 1000;

constexpr std::string_view kColumns =
    "group_id, repository_id, cluster, begun_us, cut_us, state, consistency, skew_us, collections, "
    "shards, points, bytes_read, bytes_new, bytes_stored";

std::string_view StateName(GroupState state) {
  return state == GroupState::kComplete ? "complete" : "forgotten";
}

Result<GroupRecord> ReadGroup(const Row& row, bool with_summary) {
  Columns columns(row);
  GroupRecord group;
  group.id = GroupId(columns.Text());
  group.repository_id = columns.Text();
  group.cluster = columns.Text();
  group.begun_at = columns.Time();
  group.cut_at = columns.Time();
  const std::string state = columns.Text();
  const std::string consistency = columns.Text();
  group.skew = Duration(columns.Signed());
  group.collections = columns.Number();
  group.shards = columns.Number();
  group.points = columns.Number();
  group.bytes_read = columns.Number();
  group.bytes_new = columns.Number();
  group.bytes_stored = columns.Number();
  if (with_summary) group.summary_json = columns.Text();
  const auto damaged = [&](std::string_view what, std::string_view value) {
    return Error(ErrorCode::kDataLoss,
                 fmt::format("the catalog's record of group {} has the {} \"{}\"", group.id.value(),
                             what, value),
                 "Run `holdfast catalog rebuild`.");
  };
  if (state != "complete" && state != "forgotten") return damaged("state", state);
  group.state = state == "complete" ? GroupState::kComplete : GroupState::kForgotten;
  constexpr std::array kAll = {Consistency::kFenced, Consistency::kWindow,
                               Consistency::kBestEffort};
  const auto* found = std::find_if(kAll.begin(), kAll.end(), [&](Consistency candidate) {
    return ConsistencyName(candidate) == consistency;
  });
  if (found == kAll.end()) return damaged("consistency", consistency);
  group.consistency = *found;
  return group;
}

Status CheckGroup(const GroupRecord& group) {
  HF_RETURN_IF_ERROR(CheckName("id of the group", group.id.value(), kNameBytesMax));
  HF_RETURN_IF_ERROR(CheckName("cluster of the group", group.cluster, kNameBytesMax));
  HF_RETURN_IF_ERROR(CheckDocument("summary of the group", group.summary_json, kDocumentBytesMax));
  return CheckCounts("group", {group.collections, group.shards, group.points, group.bytes_read,
                               group.bytes_new, group.bytes_stored});
}

/// Locks the repository's row, so that a rebuild begins before or after, and returns its number.
Result<std::int64_t> LockRepository(Session& session, const std::string& repository_id) {
  HF_TRY(const auto seen, session.Execute("UPDATE holdfast_repositories SET last_seen_us = {now} "
                                          "WHERE repository_id = ?",
                                          {repository_id}));
  if (seen != 1) {
    return Error(ErrorCode::kFailedPrecondition,
                 fmt::format("the catalog does not know the repository {}", repository_id),
                 "Run `holdfast catalog rebuild` for it first.");
  }
  HF_TRY(const auto rows,
         session.Query("SELECT rebuild FROM holdfast_repositories WHERE repository_id = ?",
                       {repository_id}));
  return Columns(rows.at(0)).Signed();
}

Status WriteGroup(Session& session, const GroupRecord& group, std::int64_t rebuild) {
  const std::vector<Value> values = {
      group.cluster,
      Micros(group.begun_at),
      Micros(group.cut_at),
      std::string(StateName(group.state)),
      std::string(ConsistencyName(group.consistency)),
      Micros(group.skew),
      Signed(group.collections),
      Signed(group.shards),
      Signed(group.points),
      Signed(group.bytes_read),
      Signed(group.bytes_new),
      Signed(group.bytes_stored),
      group.summary_json,
      rebuild,
      group.repository_id,
      group.id.value(),
  };
  HF_TRY(const auto updated,
         session.Execute("UPDATE holdfast_groups SET cluster = ?, begun_us = ?, cut_us = ?, "
                         "state = ?, consistency = ?, skew_us = ?, collections = ?, shards = ?, "
                         "points = ?, bytes_read = ?, bytes_new = ?, bytes_stored = ?, "
                         "summary = ?, rebuild = ? WHERE repository_id = ? AND group_id = ?",
                         values));
  if (updated == 1) return {};
  HF_RETURN_IF_ERROR(session.Execute(
      "INSERT INTO holdfast_groups (cluster, begun_us, cut_us, state, consistency, skew_us, "
      "collections, shards, points, bytes_read, bytes_new, bytes_stored, summary, rebuild, "
      "repository_id, group_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      values));
  return {};
}

}  // namespace

Status SqlCatalog::SeeRepository(const CallContext& call, const RepositoryRecord& repository) {
  HF_RETURN_IF_ERROR(CheckName("id of the repository", repository.repository_id, kNameBytesMax));
  HF_RETURN_IF_ERROR(CheckName("URL of the repository", repository.url, kUrlBytesMax));
  return store_.Write(call, [&](Session& session) -> Status {
    const std::vector<Value> values = {repository.url, repository.repository_id};
    HF_TRY(const auto updated,
           session.Execute("UPDATE holdfast_repositories SET url = ?, last_seen_us = {now} "
                           "WHERE repository_id = ?",
                           values));
    if (updated == 1) return {};
    HF_RETURN_IF_ERROR(session.Execute(
        "INSERT INTO holdfast_repositories (url, repository_id, first_seen_us, last_seen_us, "
        "rebuild) VALUES (?, ?, {now}, {now}, 0)",
        values));
    return {};
  });
}

Result<std::vector<RepositoryRecord>> SqlCatalog::ListRepositories(const CallContext& call) {
  std::vector<RepositoryRecord> repositories;
  Status read = store_.Read(call, [&](Session& session) -> Status {
    HF_TRY(const auto rows,
           session.Query("SELECT repository_id, url, first_seen_us, last_seen_us "
                         "FROM holdfast_repositories ORDER BY repository_id LIMIT ?",
                         {Signed(kPageRowsMax)}));
    repositories.clear();
    for (const Row& row : rows) {
      Columns columns(row);
      RepositoryRecord& repository = repositories.emplace_back();
      repository.repository_id = columns.Text();
      repository.url = columns.Text();
      repository.first_seen_at = columns.Time();
      repository.last_seen_at = columns.Time();
    }
    return {};
  });
  if (!read.ok()) return std::move(read).error();
  return repositories;
}

Status SqlCatalog::PutGroup(const CallContext& call, const GroupRecord& group) {
  return PutGroups(call, {&group, 1});
}

Status SqlCatalog::PutGroups(const CallContext& call, std::span<const GroupRecord> groups) {
  if (groups.empty()) return {};
  HF_RETURN_IF_ERROR(CheckLimit(groups.size()));
  const std::string& repository_id = groups.front().repository_id;
  HF_RETURN_IF_ERROR(CheckName("id of the repository", repository_id, kNameBytesMax));
  std::size_t summaries = 0;
  for (const GroupRecord& group : groups) {
    HF_RETURN_IF_ERROR(CheckGroup(group));
    summaries += group.summary_json.size();
    if (group.repository_id != repository_id) {
      return Error(ErrorCode::kInvalidArgument, "groups of two repositories in one call");
    }
  }
  if (summaries > kDocumentBytesMax) {
    return Error(ErrorCode::kInvalidArgument, "the summaries of one call are too long together");
  }
  return store_.Write(call, [&](Session& session) -> Status {
    HF_TRY(const std::int64_t rebuild, LockRepository(session, repository_id));
    for (const GroupRecord& group : groups) {
      HF_RETURN_IF_ERROR(WriteGroup(session, group, rebuild));
    }
    return {};
  });
}

Result<std::optional<GroupRecord>> SqlCatalog::FindGroup(const CallContext& call,
                                                         std::string_view repository_id,
                                                         const GroupId& id) {
  std::optional<GroupRecord> group;
  Status read = store_.Read(call, [&](Session& session) -> Status {
    HF_TRY(const auto rows, session.Query(fmt::format("SELECT {}, summary FROM holdfast_groups "
                                                      "WHERE repository_id = ? AND group_id = ?",
                                                      kColumns),
                                          {std::string(repository_id), id.value()}));
    group.reset();
    if (rows.empty()) return {};
    HF_TRY(group, ReadGroup(rows[0], /*with_summary=*/true));
    return {};
  });
  if (!read.ok()) return std::move(read).error();
  return group;
}

Result<std::vector<GroupRecord>> SqlCatalog::ListGroups(const CallContext& call,
                                                        const GroupFilter& filter,
                                                        std::size_t limit,
                                                        const std::optional<GroupCursor>& after) {
  HF_RETURN_IF_ERROR(CheckLimit(limit));
  std::string sql = fmt::format("SELECT {} FROM holdfast_groups WHERE 1 = 1", kColumns);
  std::vector<Value> values;
  const auto add = [&](std::string_view condition, std::initializer_list<Value> with) {
    sql += fmt::format(" AND {}", condition);
    values.insert(values.end(), with.begin(), with.end());
  };
  if (filter.repository_id) add("repository_id = ?", {*filter.repository_id});
  if (filter.cluster) add("cluster = ?", {*filter.cluster});
  if (filter.state) add("state = ?", {std::string(StateName(*filter.state))});
  if (filter.cut_not_after) add("cut_us <= ?", {Micros(*filter.cut_not_after)});
  if (!filter.id_prefix.empty()) {
    // Behind every character that an id has stands '~'.
    add("group_id >= ? AND group_id < ?", {filter.id_prefix, filter.id_prefix + "~"});
  }
  if (after) {
    add("(cut_us < ? OR (cut_us = ? AND (group_id < ? OR (group_id = ? AND repository_id < ?))))",
        {Micros(after->cut_at), Micros(after->cut_at), after->id.value(), after->id.value(),
         after->repository_id});
  }
  sql += " ORDER BY cut_us DESC, group_id DESC, repository_id DESC LIMIT ?";
  values.emplace_back(Signed(limit));
  std::vector<GroupRecord> groups;
  Status read = store_.Read(call, [&](Session& session) -> Status {
    HF_TRY(const auto rows, session.Query(sql, values));
    groups.clear();
    for (const Row& row : rows) {
      HF_TRY(auto group, ReadGroup(row, /*with_summary=*/false));
      groups.push_back(std::move(group));
    }
    return {};
  });
  if (!read.ok()) return std::move(read).error();
  return groups;
}

Status SqlCatalog::DropGroup(const CallContext& call, std::string_view repository_id,
                             const GroupId& id) {
  return store_.Write(call, [&](Session& session) -> Status {
    HF_RETURN_IF_ERROR(
        session.Execute("DELETE FROM holdfast_groups WHERE repository_id = ? AND group_id = ?",
                        {std::string(repository_id), id.value()}));
    return {};
  });
}

Result<std::uint64_t> SqlCatalog::BeginRebuild(const CallContext& call,
                                               std::string_view repository_id) {
  const std::string id(repository_id);
  HF_TRY(
      const std::string reply, store_.Operate(call, [&](Session& session) -> Result<std::string> {
        HF_TRY(const std::int64_t before, LockRepository(session, id));
        HF_RETURN_IF_ERROR(
            session.Execute("UPDATE holdfast_repositories SET rebuild = ? WHERE repository_id = ?",
                            {before + 1, id}));
        return fmt::format("{}", before + 1);
      }));
  std::uint64_t rebuild = 0;
  std::from_chars(reply.data(), reply.data() + reply.size(), rebuild);
  return rebuild;
}

Result<std::uint64_t> SqlCatalog::FinishRebuild(const CallContext& call,
                                                std::string_view repository_id,
                                                std::uint64_t rebuild) {
  const std::string id(repository_id);
  std::uint64_t removed = 0;
  while (true) {
    HF_TRY(
        const std::string reply, store_.Operate(call, [&](Session& session) -> Result<std::string> {
          HF_TRY(const std::int64_t latest, LockRepository(session, id));
          if (latest != Signed(rebuild)) {
            return Error(ErrorCode::kAborted,
                         fmt::format("another rebuild of the repository {} has begun since", id));
          }
          HF_TRY(const auto stale, session.Query("SELECT group_id FROM holdfast_groups "
                                                 "WHERE repository_id = ? AND rebuild < ? LIMIT ?",
                                                 {id, Signed(rebuild), kSweepRowsMax}));
          for (const Row& row : stale) {
            HF_RETURN_IF_ERROR(session.Execute(
                "DELETE FROM holdfast_groups WHERE repository_id = ? AND group_id = ?",
                {id, Columns(row).Text()}));
          }
          return fmt::format("{}", stale.size());
        }));
    std::uint64_t batch = 0;
    std::from_chars(reply.data(), reply.data() + reply.size(), batch);
    removed += batch;
    if (batch < static_cast<std::uint64_t>(kSweepRowsMax)) return removed;
  }
}

}  // namespace holdfast::sql
