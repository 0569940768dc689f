// Results of operations as the command line prints them.

#include "model/json.h"
#include "ops/backup_op.h"
#include "ops/restore_op.h"

namespace holdfast {

std::string BackupOutcomeToJson(const BackupOutcome& outcome, Duration took) {
  const GroupManifest& group = outcome.manifest;
  std::uint64_t shards = 0;
  for (const CollectionSummary& collection : group.collections) shards += collection.shards;
  json::Json skipped = json::Json::array();
  for (const SkippedCollection& item : group.skipped) {
    skipped.push_back({{"name", item.name}, {"reason", item.reason}});
  }
  return json::Dump(
      {{"group", group.id.value()},
       {"consistency", ConsistencyName(group.consistency)},
       {"skew_ms", static_cast<double>(group.skew_us) / 1000.0},
       {"first_request_monotonic_us", outcome.first_request.time_since_epoch().count()},
       {"last_first_byte_monotonic_us", outcome.last_first_byte.time_since_epoch().count()},
       {"collections", group.collections.size()},
       {"shards", shards},
       {"points", group.points},
       {"bytes_read", group.bytes_read},
       {"bytes_new", group.bytes_new},
       {"bytes_stored", group.bytes_stored},
       {"skipped", std::move(skipped)},
       {"warnings", group.warnings},
       {"seconds", static_cast<double>(took.count()) / 1e6}});
}

std::string RestoreOutcomeToJson(const RestoreOutcome& outcome, Duration took) {
  json::Json collections = json::Json::array();
  for (const RestoredCollection& item : outcome.collections) {
    collections.push_back({{"source", item.source},
                           {"target", item.target},
                           {"points", item.points},
                           {"shards", item.shards},
                           {"replicas", item.replicas},
                           {"aliases", item.aliases}});
  }
  return json::Dump({{"group", outcome.group.value()},
                     {"collections", std::move(collections)},
                     {"metadata_keys", outcome.metadata_keys},
                     {"given_up", outcome.given_up},
                     {"warnings", outcome.warnings},
                     {"seconds", static_cast<double>(took.count()) / 1e6}});
}

}  // namespace holdfast
