// What has come of a change that nobody answered in time.

#pragma once

#include <chrono>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "engine/engine.h"

namespace holdfast {

/// A change whose call ran out of time or was broken off may still take effect for so long: the
/// servers agree on it without the client.
inline constexpr Duration kLateChangePatience = std::chrono::seconds(10);

/// True for an error after which the change may take effect later. Not for kUnavailable: what was
/// refused was not begun, and what lost its reply has happened.
inline bool MayHappenLater(ErrorCode code) {
  return code == ErrorCode::kDeadlineExceeded || code == ErrorCode::kAborted ||
         code == ErrorCode::kCancelled;
}

/// The collection that a CreateCollection which failed with `created` has made after all.
/// kNotFound when it has made none; other errors: that could not be seen. Ends later than `call`
/// stops by one call at most.
Result<Collection> LookForCreated(const CallContext& call, Clock& clock, Engine& engine,
                                  const std::string& name, const Error& created);

}  // namespace holdfast
