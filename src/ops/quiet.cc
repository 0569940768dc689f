#include "ops/quiet.h"

namespace holdfast {

Result<Operations> OperationNumbers(const CallContext& call, Engine& engine,
                                    const std::string& collection) {
  Operations numbers;
  HF_TRY(const Collection there, engine.ReadCollection(call, collection));
  for (const Shard& shard : there.shards) {
    for (const Replica& replica : shard.replicas) {
      const ReplicaRef ref{.peer = replica.peer, .collection = collection, .shard = shard.id};
      // A replica that cannot be asked is not written to either.
      const auto health = engine.ReadHealth(call, ref);
      if (health.ok() && health->update_op_num) numbers[Describe(ref)] = *health->update_op_num;
    }
  }
  return numbers;
}

Status CheckQuiet(const CallContext& call, Engine& engine, const std::string& collection,
                  const Operations& before) {
  HF_TRY(const Operations now, OperationNumbers(call, engine, collection));
  for (const auto& [replica, number] : now) {
    const auto then = before.find(replica);
    if (then == before.end() || then->second == number) continue;
    return Error(ErrorCode::kFailedPrecondition, replica + " takes writes",
                 "stop what writes to '" + collection + "' before replacing it in place");
  }
  return {};
}

}  // namespace holdfast
