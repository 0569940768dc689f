// From the configuration that a server shows to the bodies that make the same collection again
// (reference 2.3, 2.4). Pure. For .cc files only.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "model/json.h"
#include "model/topology.h"

namespace holdfast::qdrant {

/// Fills what the `config` member of `GET /collections/{c}` or of telemetry tells: create_json,
/// finish_json, shard_number, replication_factor, custom_sharding, and uuid where it is shown.
/// kUnavailable when it is no configuration.
///
/// create_json names every value of the source, since a missing one takes the target server's
/// default. A null is a default all the same: `quantization_config: null` is kept, so that
/// QuantizationToDisable can tell. Left out, because creation refuses or ignores them: uuid, read
/// fan-out. finish_json, for PATCH, has strict mode and read fan-out; limits of strict mode cannot
/// be unset afterwards (measured 20), so it is applied last and only when there is something.
Status TakeConfig(const json::Json& config, Collection& collection);

/// create_json with another replication factor, unless that is 0. kInvalidArgument when it is no
/// document of TakeConfig.
Result<json::Json> CreateBody(std::string_view create_json, std::uint32_t replication_factor);

/// True when the target gave a new collection a quantization of its own defaults (reference 2.3):
/// `created` is its config, `body` what was asked for.
bool QuantizationToDisable(const json::Json& created, const json::Json& body);

/// What the strict mode of finish_json says about reading.
struct ReadLimits {
  bool exact_allowed = true;
  /// Largest `limit` of a query or scroll; 0: none.
  std::uint64_t query_limit = 0;
};
ReadLimits ReadLimitsOf(const Collection& collection);

}  // namespace holdfast::qdrant
