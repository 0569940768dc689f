#include "ops/wave.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <utility>

#include "exec/thread_group.h"
#include "ops/parallel.h"

namespace holdfast {
namespace {

constexpr std::size_t kLookAgainAtOnce = 16;

class Wave {
 public:
  Wave(const CallContext& call, const CaptureTools& tools, const CaptureSettings& settings,
       StagedJournal& journal, const WaveRequest& request)
      : tools_(tools),
        settings_(settings),
        request_(request),
        gate_(tools.clock, request.steps.size()),
        staged_(tools.engine, journal, tools.clock),
        taken_(request.steps.size()),
        captures_(call) {}

  Result<WaveResult> Run() {
    Status done = Start();
    if (done.ok()) done = Cut(captures_.call());
    Thaw();
    if (done.ok()) done = LookAgain(captures_.call());
    if (done.ok() && request_.after_cut) done = request_.after_cut(captures_.call());
    if (!done.ok()) captures_.Stop();
    Status drained = captures_.Join();
    for (std::string& left : staged_.RemoveAll()) result_.warnings.push_back(std::move(left));
    // A capture that failed is the cause of what else was stopped.
    if (!drained.ok() && (done.ok() || done.error().code() == ErrorCode::kCancelled)) {
      return std::move(drained).error();
    }
    if (!done.ok()) return std::move(done).error();
    return Collected();
  }

 private:
  Status Start() {
    for (std::size_t i = 0; i < request_.steps.size(); ++i) {
      HF_RETURN_IF_ERROR(captures_.Start([this, i](const CallContext& inner) -> Status {
        GatePass pass(gate_);
        const CaptureStep& step = request_.steps[i];
        auto taken = CaptureShard(inner, tools_, settings_,
                                  request_.collections.at(step.collection), step, staged_, pass);
        if (!taken.ok()) return std::move(taken).error();
        const std::scoped_lock lock(mutex_);
        taken_[i] = *std::move(taken);
        return {};
      }));
    }
    return {};
  }

  Status Cut(const CallContext& call) {
    HF_RETURN_IF_ERROR(gate_.AwaitReady(call));
    if (request_.before_cut) HF_RETURN_IF_ERROR(request_.before_cut(call));
    if (request_.fence != nullptr) {
      HF_RETURN_IF_ERROR(request_.fence->Freeze(call));
      frozen_ = true;
      frozen_at_ = tools_.clock.Monotonic();
    }
    gate_.Open();
    return gate_.AwaitSettled(call);
  }

  void Thaw() {
    if (!frozen_) return;
    thawed_at_ = tools_.clock.Monotonic();
    // Not bound by the operation's own call: writers are released also after Ctrl-C.
    const Status thawed = request_.fence->Thaw({});
    if (!thawed.ok()) result_.fence_trouble = thawed.error().message();
  }

  Status LookAgain(const CallContext& call) {
    std::vector<const Collection*> collections;
    for (const auto& [name, collection] : request_.collections) collections.push_back(&collection);
    return ForEachIndex(call, collections.size(), kLookAgainAtOnce,
                        [&](const CallContext& inner, std::size_t i) -> Status {
                          const Collection& before = *collections[i];
                          const auto now = tools_.engine.ReadCollection(inner, before.name);
                          std::string changed;
                          if (now.ok()) {
                            changed = WhatChanged(before, *now);
                          } else if (now.error().code() == ErrorCode::kNotFound) {
                            changed = "it was dropped";
                          } else {
                            return now.error();
                          }
                          if (changed.empty()) return {};
                          const std::scoped_lock lock(mutex_);
                          result_.changes.push_back("'" + before.name + "': " + changed);
                          return {};
                        });
  }

  Result<WaveResult> Collected() {
    result_.fenced = frozen_ && result_.fence_trouble.empty();
    for (std::optional<CapturedShard>& taken : taken_) {
      for (std::string& warning : taken->warnings) result_.warnings.push_back(std::move(warning));
      const bool inside = taken->begin >= frozen_at_ && taken->end <= thawed_at_;
      if (result_.fenced && !inside) {
        result_.fenced = false;
        result_.fence_trouble = "a shard had to be taken again after the writers were released";
      }
      result_.shards.push_back(*std::move(taken));
    }
    std::ranges::sort(result_.changes);
    return std::move(result_);
  }

  const CaptureTools& tools_;
  const CaptureSettings& settings_;
  const WaveRequest& request_;
  WaveGate gate_;
  StagedSnapshots staged_;
  std::mutex mutex_;
  std::vector<std::optional<CapturedShard>> taken_;
  WaveResult result_;
  bool frozen_ = false;
  MonotonicTime frozen_at_{};
  MonotonicTime thawed_at_{};
  // Last: joined before anything its threads use goes away.
  ThreadGroup captures_;
};

}  // namespace

Result<WaveResult> CaptureWave(const CallContext& call, const CaptureTools& tools,
                               const CaptureSettings& settings, StagedJournal& journal,
                               const WaveRequest& request) {
  if (request.steps.empty()) return WaveResult{};
  return Wave(call, tools, settings, journal, request).Run();
}

}  // namespace holdfast
