// What a node answered, as a result or as an error that says what to do (reference 0.1).
// For .cc files only.

#pragma once

#include <string>

#include "base/error.h"
#include "base/result.h"
#include "http/message.h"
#include "model/json.h"

namespace holdfast::qdrant {

/// Whether a request that failed may have changed something.
enum class Effect { kRead, kChange };

/// The error that an answer other than 2xx is. The message carries the server's own text, cut and
/// without control characters; errors of streams and of the door are plain text, others JSON.
///
///   kPermissionDenied    401, 403
///   kUnsupported         404 without a text: the server does not have this path
///   kNotFound            404; 400 and 500 that say that the replica is not on this node
///   kAlreadyExists       409
///   kDeadlineExceeded    408, 504 and a consensus timeout of a change: it may take effect later
///   kResourceExhausted   429 (the hint says how long the server asks to wait), 507, disk full
///   kDataLoss            the server found what was sent to be damaged: wrong checksum, no snapshot
///   kInvalidArgument     400, 413, 422 otherwise
///   kUnavailable         503, and any other 5xx of a read
///   kAborted             any other 5xx of a change: look at the state, decide again
///   kFailedPrecondition  a redirect, a locked storage, a node that runs stand-alone
Error ErrorOfAnswer(const HttpRequest& request, const HttpResponse& answer, Effect effect);

/// The `result` member of a 2xx answer; null when there is none. ErrorOfAnswer otherwise;
/// kUnavailable when the body is not what this API answers (something else listens there).
Result<json::Json> ResultOfAnswer(const HttpRequest& request, const HttpResponse& answer,
                                  Effect effect);

/// The error of a well-formed change to what the cluster agrees on: there a 400 is about the state
/// of the cluster (kFailedPrecondition), not about the request.
Error OfState(Error error);

/// Seconds that a 429 asks to wait, at least 1.
Duration RetryAfter(const HttpResponse& answer);

}  // namespace holdfast::qdrant
