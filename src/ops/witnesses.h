// Points and questions of a collection that are kept with a group, so that a restore can be
// compared with what was answered when it was taken.

#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "engine/engine.h"
#include "plan/backup_plan.h"

namespace holdfast {

/// Shards of a collection that are sampled, and points of each.
inline constexpr std::size_t kSampledShardsMax = 16;
inline constexpr std::uint32_t kSamplesPerShard = 4;
/// Scores of the same exact search may differ by the order of summation (design.md, "Verified").
inline constexpr double kScoreTolerance = 1e-5;

/// The samples and golden queries of one collection.
struct Witnesses {
  std::vector<SampledPoint> samples;
  std::vector<GoldenQuery> queries;
};

/// Both calls leave out what no source of a shard answers: a backup does not fail for it.

/// Chooses points spread over shards and over the range of their ids, and asks questions made of
/// them. `steps` are the capture steps of this collection.
Result<Witnesses> ChooseWitnesses(const CallContext& call, Engine& engine, Random& random,
                                  const Collection& collection,
                                  const std::vector<CaptureStep>& steps);

/// Reads and asks again; keeps only what is the same. After the cut: what is the same on both sides
/// of it holds for the cut too.
Result<Witnesses> ConfirmWitnesses(const CallContext& call, Engine& engine,
                                   const Collection& collection,
                                   const std::vector<CaptureStep>& steps, const Witnesses& before);

/// The same ids in the same order but for ties, scores within kScoreTolerance. The last ids may
/// differ where they tie with the last score. Empty: the same; else what differs.
std::string CompareAnswers(const GoldenQuery& recorded, const GoldenQuery& now);

}  // namespace holdfast
