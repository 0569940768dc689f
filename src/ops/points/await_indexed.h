// Waiting until the servers have built the indexes of a collection that was filled.

#pragma once

#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "engine/engine.h"
#include "job/job_runner.h"

namespace holdfast {

/// Waits until every replica of `collection` answers and has nothing left to optimize: its indexes
/// are built then, and searches as fast as they will be. Gives up, since a collection answers
/// without indexes too, after `patience` (zero: does not wait), or when nothing has been at work
/// for half a minute: optimizers that are off, a node that was restarted and goes on only with the
/// next write, a peer that is gone. Returns what is not built then, in words; empty: all is.
Result<std::string> AwaitIndexed(StepContext& context, Engine& engine, Clock& clock,
                                 const std::string& collection, Duration patience);

}  // namespace holdfast
