// Waiting until the servers have built the indexes of a collection that was filled.

#pragma once

#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "engine/engine.h"
#include "job/job_runner.h"

namespace holdfast {

/// Waits until no replica of `collection` has optimizers at work: its indexes are built then, and
/// searches as fast as they will be. After `patience` it says so and goes on, since a collection
/// answers without indexes too; zero: does not wait. Replicas that do not answer are not waited
/// for.
Status AwaitIndexed(StepContext& context, Engine& engine, Clock& clock,
                    const std::string& collection, Duration patience);

}  // namespace holdfast
