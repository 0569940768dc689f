// What has come of a change that nobody answered in time.

#pragma once

#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "engine/engine.h"

namespace holdfast {

/// Whether a CreateCollection which failed with `created` has made a collection after all: true for
/// one that is empty, since one with points is somebody else's. Where that cannot be seen:
/// `created` with what is to be looked at. Ends later than `call` stops by one call at most.
Result<bool> WasCreated(const CallContext& call, Clock& clock, Engine& engine,
                        const std::string& name, const Error& created);

}  // namespace holdfast
