// One wave: all its shards at one cut.

#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "ops/capture.h"
#include "ops/fence.h"

namespace holdfast {

/// What a wave is asked to do.
struct WaveRequest {
  std::vector<CaptureStep> steps;
  /// The collections of the steps, by name, as they were observed.
  std::map<std::string, Collection> collections;
  /// Absent: no fence.
  Fence* fence = nullptr;
  /// Called when everything is prepared, before the fence and the requests; and when the cut is
  /// behind and writers are released. An error ends the wave.
  std::function<Status(const CallContext&)> before_cut;
  std::function<Status(const CallContext&)> after_cut;
};

/// What a wave achieved.
struct WaveResult {
  /// In the order of the steps.
  std::vector<CapturedShard> shards;
  /// Every cut lies within the fence.
  bool fenced = false;
  /// Why the fence did not hold, for people; empty when it did or none was asked for.
  std::string fence_trouble;
  /// What changed in a captured collection while it was taken; empty: nothing. The shards of such a
  /// wave do not belong together and must be taken again.
  std::vector<std::string> changes;
  std::vector<std::string> warnings;
};

/// Opens all streams of the wave together, thaws as soon as every cut is behind, looks at the
/// collections again, then drains (design.md, Capture 3 to 6). The first shard that no source can
/// give ends the wave with its error; writers are released in any case.
Result<WaveResult> CaptureWave(const CallContext& call, const CaptureTools& tools,
                               const CaptureSettings& settings, StagedJournal& journal,
                               const WaveRequest& request);

}  // namespace holdfast
