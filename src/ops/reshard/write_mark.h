// Whether a collection was written to between two looks: the operation numbers of its replicas.

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "engine/engine.h"

namespace holdfast {

/// What the replicas of a collection said at one look.
struct WriteMark {
  struct Shard {
    /// Number of the last operation that is applied, of every active replica that tells it.
    std::map<PeerId, std::uint64_t> operations;
  };
  std::string uuid;
  std::map<ShardId, Shard> shards;
  /// Operations that are accepted and cannot be seen yet, and points that are not shown.
  std::uint64_t pending = 0;
  /// Shards of which no active replica tells its number: nothing can be proven of them.
  std::uint32_t silent = 0;
};

/// kFailedPrecondition when the collection is another one than that of `uuid` (empty: any);
/// kNotFound.
Result<WriteMark> ReadMark(const CallContext& call, Engine& engine, const std::string& collection,
                           const std::string& uuid = {});

/// True when it is proven that nothing was written to any shard from `before` to `after`: nothing
/// was pending at either look, no replica tells another number, and one that was active at both
/// tells the same. An operation that a server is just applying shows at neither look (its number
/// comes when it is done, run and read in the server's source): so look again a little later where
/// it matters.
bool ProvesQuiet(const WriteMark& before, const WriteMark& after);

/// True when some replica tells another number, so that something was written for certain.
bool ProvesWrites(const WriteMark& before, const WriteMark& after);

/// For a job's journal, and back. kDataLoss when it is not what the writer writes.
std::string WriteMarkToJson(const WriteMark& mark);
Result<WriteMark> WriteMarkFromJson(std::string_view json);

}  // namespace holdfast
