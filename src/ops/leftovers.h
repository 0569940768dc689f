// What an interrupted backup left on the nodes, remembered in the journal of its job.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "catalog/job_journal.h"
#include "engine/engine.h"
#include "job/job_runner.h"
#include "ops/staged.h"

namespace holdfast {

/// Jobs that are looked at, newest first. An older leftover shows in `holdfast topology` only.
inline constexpr std::size_t kLeftoverJobsMax = 20;

/// Keeps notes as steps of the job: "staged/<n>" before a snapshot is asked for,
/// "staged/<n>/removed" when it is gone. `context` outlives it.
std::unique_ptr<StagedJournal> NewStagedJournal(StepContext& context);

/// Removes what earlier backup jobs of this cluster noted and did not remove; `self` is left alone.
/// What cannot be removed is returned as texts for warnings; errors are the catalog's.
Result<std::vector<std::string>> RemoveStagedLeftovers(const CallContext& call, JobJournal& jobs,
                                                       ShardSource& source,
                                                       const std::string& cluster,
                                                       const JobId& self);

}  // namespace holdfast
