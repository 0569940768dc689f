// What has come of a change that nobody answered in time.

#pragma once

#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "engine/engine.h"

namespace holdfast {

/// The collection that a CreateCollection which failed with `created` has made after all.
/// kNotFound when it has made none; other errors: that could not be seen. Ends later than `call`
/// stops by one call at most.
Result<Collection> LookForCreated(const CallContext& call, Clock& clock, Engine& engine,
                                  const std::string& name, const Error& created);

}  // namespace holdfast
