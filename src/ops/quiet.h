// Whether anybody writes to a collection.

#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "engine/engine.h"

namespace holdfast {

/// Number of the last operation of every replica that tells one, by its description.
using Operations = std::map<std::string, std::uint64_t>;
Result<Operations> OperationNumbers(const CallContext& call, Engine& engine,
                                    const std::string& collection);

/// Nothing has been written since `before` was read; else kFailedPrecondition naming a replica.
Status CheckQuiet(const CallContext& call, Engine& engine, const std::string& collection,
                  const Operations& before);

}  // namespace holdfast
