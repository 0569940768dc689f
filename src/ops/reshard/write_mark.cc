#include "ops/reshard/write_mark.h"

#include <mutex>
#include <utility>
#include <vector>

#include "model/json.h"
#include "ops/insist.h"
#include "ops/parallel.h"

namespace holdfast {
namespace {

constexpr std::size_t kLooksAtOnce = 8;

}  // namespace

Result<WriteMark> ReadMark(const CallContext& call, Engine& engine, const std::string& collection,
                           const std::string& uuid) {
  HF_TRY(const Collection now, engine.ReadCollection(call, collection));
  if (!uuid.empty() && !now.uuid.empty() && now.uuid != uuid) {
    return Error(ErrorCode::kFailedPrecondition,
                 "'" + collection + "' was dropped and made anew meanwhile",
                 "begin anew with the collection that is there now");
  }
  WriteMark mark;
  mark.uuid = now.uuid;
  std::vector<ReplicaRef> replicas;
  for (const Shard& shard : now.shards) {
    mark.shards[shard.id];
    for (const Replica& replica : shard.replicas) {
      replicas.push_back({.peer = replica.peer, .collection = collection, .shard = shard.id});
    }
  }
  std::mutex mutex;
  HF_RETURN_IF_ERROR(ForEachIndex(
      call, replicas.size(), kLooksAtOnce, [&](const CallContext& inner, std::size_t i) -> Status {
        const auto health = engine.ReadHealth(inner, replicas[i]);
        // One that cannot be asked says nothing; another of its shard may.
        if (!health.ok()) {
          const bool gone = AnotherMayAnswer(health.error().code());
          return gone && !inner.stop.stop_requested() ? Status() : Status(health.error());
        }
        if (health->state != ReplicaState::kActive || !health->update_op_num) return {};
        const std::scoped_lock lock(mutex);
        mark.pending += health->update_queue_length + health->points_deferred;
        mark.shards[replicas[i].shard].operations[replicas[i].peer] = *health->update_op_num;
        return {};
      }));
  for (const auto& [shard, told] : mark.shards) {
    if (told.operations.empty()) ++mark.silent;
  }
  return mark;
}

bool ProvesWrites(const WriteMark& before, const WriteMark& after) {
  for (const auto& [shard, then] : before.shards) {
    const auto now = after.shards.find(shard);
    if (now == after.shards.end()) continue;
    for (const auto& [peer, number] : then.operations) {
      const auto later = now->second.operations.find(peer);
      if (later != now->second.operations.end() && later->second != number) return true;
    }
  }
  return false;
}

bool ProvesQuiet(const WriteMark& before, const WriteMark& after) {
  if (before.pending > 0 || after.pending > 0 || ProvesWrites(before, after)) return false;
  if (before.shards.size() != after.shards.size()) return false;
  for (const auto& [shard, then] : before.shards) {
    const auto now = after.shards.find(shard);
    if (now == after.shards.end()) return false;
    bool proven = false;
    for (const auto& [peer, number] : then.operations) {
      proven = proven || now->second.operations.contains(peer);
    }
    if (!proven) return false;
  }
  return true;
}

std::string WriteMarkToJson(const WriteMark& mark) {
  json::Json shards = json::Json::array();
  for (const auto& [shard, told] : mark.shards) {
    json::Json operations = json::Json::array();
    for (const auto& [peer, number] : told.operations) {
      operations.push_back({peer.value(), number});
    }
    shards.push_back({{"shard", shard.value()}, {"operations", std::move(operations)}});
  }
  return json::Dump(
      {{"uuid", mark.uuid}, {"shards", std::move(shards)}, {"pending", mark.pending}});
}

Result<WriteMark> WriteMarkFromJson(std::string_view text) {
  constexpr const char* kWhat = "a mark of operation numbers";
  HF_TRY(const json::Json document, json::Parse(text, kWhat));
  json::Reader in(document, kWhat);
  WriteMark mark;
  mark.uuid = in.Text("uuid");
  mark.pending = in.Number("pending");
  for (const json::Json& item : in.Array("shards")) {
    json::Reader shard(item, kWhat);
    auto& told = mark.shards[ShardId(shard.Number32("shard"))];
    for (const json::Json& pair : shard.Array("operations")) {
      if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number_unsigned() ||
          !pair[1].is_number_unsigned()) {
        return Error(ErrorCode::kDataLoss, std::string(kWhat) + " has no operation number");
      }
      told.operations[PeerId(pair[0].get<std::uint64_t>())] = pair[1].get<std::uint64_t>();
    }
    HF_RETURN_IF_ERROR(shard.status());
    if (told.operations.empty()) ++mark.silent;
  }
  HF_RETURN_IF_ERROR(in.status());
  return mark;
}

}  // namespace holdfast
