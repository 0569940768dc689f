#include "ops/witnesses.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>
#include <utility>

namespace holdfast {
namespace {

/// An error that says something about a replica rather than about this run. Witnesses are an extra
/// proof: what cannot be asked is left out, while its shard is taken from another replica.
bool SaysReplicaIsOut(const Error& error) {
  return error.code() != ErrorCode::kCancelled && error.code() != ErrorCode::kPermissionDenied &&
         error.code() != ErrorCode::kInternal;
}

/// What `read` gives of the first source of the step that answers; an empty value when none does.
template <class T, class F>
Result<T> FromAnySource(const Collection& collection, const CaptureStep& step, F read) {
  for (const PeerId peer : step.sources) {
    Result<T> answer =
        read(ReplicaRef{.peer = peer, .collection = collection.name, .shard = step.shard});
    if (answer.ok() || !SaysReplicaIsOut(answer.error())) return answer;
  }
  return T{};
}

/// Every n-th step, so that at most kSampledShardsMax are asked.
std::vector<const CaptureStep*> Sampled(const std::vector<CaptureStep>& steps) {
  std::vector<const CaptureStep*> chosen;
  const std::size_t stride = std::max<std::size_t>(1, steps.size() / kSampledShardsMax);
  for (std::size_t i = 0; i < steps.size() && chosen.size() < kSampledShardsMax; i += stride) {
    chosen.push_back(&steps[i]);
  }
  return chosen;
}

/// An id from which a page is read: anywhere in the range of numbers or of UUIDs.
std::string RandomStart(Random& random, const std::string& some_id) {
  if (some_id.empty() || some_id.front() != '"') {
    // Ids grow from small numbers in practice, so chance is spread over magnitudes.
    return std::to_string(random.Next() >> random.Between(1, 63));
  }
  std::array<char, 48> text{};
  const std::uint64_t high = random.Next();
  const std::uint64_t low = random.Next();
  std::snprintf(text.data(), text.size(), "\"%08x-%04x-%04x-%04x-%012llx\"",
                static_cast<unsigned>(high >> 32), static_cast<unsigned>(high >> 16 & 0xffff),
                static_cast<unsigned>(high & 0xffff), static_cast<unsigned>(low >> 48),
                static_cast<unsigned long long>(low & 0xffffffffffffULL));
  return text.data();
}

Result<std::vector<SampledPoint>> SampleShard(const CallContext& call, Engine& engine,
                                              Random& random, const ReplicaRef& replica,
                                              const CaptureStep& step) {
  constexpr std::uint32_t kHalf = kSamplesPerShard / 2;
  HF_TRY(std::vector<std::string> ids, engine.ListIds(call, replica, "", kHalf));
  if (ids.empty()) return std::vector<SampledPoint>{};
  HF_TRY(const auto more,
         engine.ListIds(call, replica, RandomStart(random, ids.front()), kSamplesPerShard - kHalf));
  for (const std::string& id : more) {
    if (std::ranges::find(ids, id) == ids.end()) ids.push_back(id);
  }
  HF_TRY(auto points, engine.ReadPoints(call, replica, ids));
  for (SampledPoint& point : points) point.key = step.key;
  return points;
}

}  // namespace

Result<Witnesses> ChooseWitnesses(const CallContext& call, Engine& engine, Random& random,
                                  const Collection& collection,
                                  const std::vector<CaptureStep>& steps) {
  Witnesses witnesses;
  for (const CaptureStep* step : Sampled(steps)) {
    HF_TRY(auto points, FromAnySource<std::vector<SampledPoint>>(
                            collection, *step, [&](const ReplicaRef& replica) {
                              return SampleShard(call, engine, random, replica, *step);
                            }));
    std::ranges::move(points, std::back_inserter(witnesses.samples));
  }
  const auto queries = engine.ProposeQueries(call, collection, witnesses.samples);
  if (!queries.ok()) {
    if (SaysReplicaIsOut(queries.error())) return witnesses;
    return queries.error();
  }
  for (const GoldenQuery& query : *queries) {
    auto answered = engine.Ask(call, collection.name, query);
    if (answered.ok()) {
      witnesses.queries.push_back(*std::move(answered));
    } else if (!SaysReplicaIsOut(answered.error())) {
      return std::move(answered).error();
    }
  }
  return witnesses;
}

Result<Witnesses> ConfirmWitnesses(const CallContext& call, Engine& engine,
                                   const Collection& collection,
                                   const std::vector<CaptureStep>& steps, const Witnesses& before) {
  std::set<std::pair<std::string, std::string>> same;
  std::vector<std::string> ids;
  for (const SampledPoint& sample : before.samples) ids.push_back(sample.id_json);
  for (const CaptureStep* step : Sampled(steps)) {
    HF_TRY(const auto points, FromAnySource<std::vector<SampledPoint>>(
                                  collection, *step, [&](const ReplicaRef& replica) {
                                    return engine.ReadPoints(call, replica, ids);
                                  }));
    for (const SampledPoint& point : points) same.emplace(point.id_json, point.point_json);
  }
  Witnesses kept;
  for (const SampledPoint& sample : before.samples) {
    if (same.contains({sample.id_json, sample.point_json})) kept.samples.push_back(sample);
  }
  for (const GoldenQuery& query : before.queries) {
    const auto now = engine.Ask(call, collection.name, query);
    if (!now.ok() && !SaysReplicaIsOut(now.error())) return now.error();
    if (now.ok() && CompareAnswers(query, *now).empty()) kept.queries.push_back(query);
  }
  return kept;
}

std::string CompareAnswers(const GoldenQuery& recorded, const GoldenQuery& now) {
  if (recorded.ids.size() != now.ids.size()) {
    return std::to_string(recorded.ids.size()) + " points were found then, " +
           std::to_string(now.ids.size()) + " now";
  }
  for (std::size_t i = 0; i < recorded.ids.size(); ++i) {
    const double scale = std::max(1.0, std::abs(recorded.scores[i]));
    if (std::abs(recorded.scores[i] - now.scores[i]) > kScoreTolerance * scale) {
      return "the score at rank " + std::to_string(i + 1) + " was " +
             std::to_string(recorded.scores[i]) + " and is " + std::to_string(now.scores[i]);
    }
  }
  if (recorded.ids.empty()) return {};
  // Ids whose score is clear of the last one must all be there; among equals order is free.
  const double last = recorded.scores.back();
  const std::set<std::string> found(now.ids.begin(), now.ids.end());
  for (std::size_t i = 0; i < recorded.ids.size(); ++i) {
    const double scale = std::max(1.0, std::abs(last));
    const bool ties_with_last = std::abs(recorded.scores[i] - last) <= kScoreTolerance * scale;
    if (!ties_with_last && !found.contains(recorded.ids[i])) {
      return "point " + recorded.ids[i] + " is no longer found";
    }
  }
  return {};
}

}  // namespace holdfast
