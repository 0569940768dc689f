// The JSON documents of a repository (format, section 5.2): manifests, intents, forget marks.

#pragma once

#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "repo/format/key_ring.h"
#include "repo/group.h"
#include "repo/intent.h"

namespace holdfast {

/// kInvalidArgument when a label or the body is not UTF-8.
Result<std::string> WriteManifest(const RepositoryId& repository, const GroupEnvelope& envelope);
/// kDataLoss naming `what`, also when it is the manifest of another group or repository.
Result<GroupEnvelope> ReadManifestJson(const RepositoryId& repository, const GroupId& group,
                                       std::string_view text, std::string_view what);

Result<std::string> WriteIntent(const IntentNote& note, std::uint64_t renewals);
Result<IntentNote> ReadIntent(std::string_view text, std::string_view what);

Result<std::string> WriteForgetMark(const GroupId& group, std::string_view note);
/// The note.
Result<std::string> ReadForgetMark(const GroupId& group, std::string_view text,
                                   std::string_view what);

}  // namespace holdfast
