// The user's own commands: fence hooks.

#pragma once

#include <string>

#include "base/clock.h"
#include "base/result.h"

namespace holdfast {

/// Runs `script` with /bin/sh, fed on standard input so that it shows in no process list; standard
/// output goes to our standard error. kFailedPrecondition with the exit status when it is not 0;
/// kCancelled or kDeadlineExceeded when `call` ends first, then the script and its children are
/// killed.
Status RunScript(const CallContext& call, Clock& clock, const std::string& script);

/// A hook is a script, or an http(s) URL that is sent an empty POST and must answer 2xx.
Status RunHook(const CallContext& call, Clock& clock, const std::string& hook);

}  // namespace holdfast
