#include "ops/rebalance/rebalance_steps.h"

#include <algorithm>

#include "model/json.h"

namespace holdfast {
namespace {

/// Between two looks at what runs: longer and longer from kPollMin, a quarter each time, so that
/// the end of a transfer is seen within about a fifth of the time that it took.
constexpr Duration kPollMax = std::chrono::seconds(2);
/// How long the cluster may be out of reach.
constexpr Duration kBlindPatience = std::chrono::minutes(2);
/// How often the peers of a running transfer are asked whether they live, and how long they may be
/// silent. A node that is started again aborts its transfers itself (reference 5).
constexpr Duration kLookEvery = std::chrono::seconds(5);
constexpr Duration kSilencePatience = std::chrono::seconds(15);
/// How long a start that was refused is looked for all the same.
constexpr Duration kRefusedPatience = std::chrono::seconds(2);
constexpr int kTriesMax = 3;
constexpr Duration kTryPause = std::chrono::seconds(2);

}  // namespace

TransferRef RebalanceSteps::RefOf(const RebalanceStep& step) {
  return {.collection = step.collection, .shard = step.shard, .from = step.from, .to = step.to};
}

TransferKind RebalanceSteps::KindOf(const RebalanceStep& step) {
  return step.action == RebalanceAction::kReplicate ? TransferKind::kReplicate
                                                    : TransferKind::kMove;
}

std::string RebalanceSteps::KeyOf(const RebalanceStep& step) {
  std::string key = std::string(RebalanceActionName(step.action)) + "/" + step.collection + "/" +
                    std::to_string(step.shard.value()) + "/" + std::to_string(step.from.value());
  if (step.action != RebalanceAction::kDrop) key += "/" + std::to_string(step.to.value());
  return key;
}

std::string RebalanceSteps::Doing(const RebalanceStep& step) {
  if (step.action == RebalanceAction::kDrop) {
    return "drop " + Describe(ReplicaRef{
                         .peer = step.from, .collection = step.collection, .shard = step.shard});
  }
  return std::string(RebalanceActionName(step.action)) + " " + Describe(RefOf(step));
}

// --- the journal ---------------------------------------------------------------------------------

Status RebalanceSteps::Save() { return context_.SavePlan(RebalanceJournalToJson(journal_)); }

Status RebalanceSteps::Forget(const TransferRef& transfer) {
  std::erase_if(journal_.own, [&](const OwnTransfer& own) { return own.transfer == transfer; });
  return Save();
}

// --- running -------------------------------------------------------------------------------------

Status RebalanceSteps::FinishOwn() {
  if (journal_.own.empty()) return {};
  context_.progress().BeginPhase("finish");
  changed_ = true;
  Works works;
  for (const OwnTransfer& own : journal_.own) {
    Work work;
    work.step = {.action = own.kind == TransferKind::kReplicate ? RebalanceAction::kReplicate
                                                                : RebalanceAction::kMove,
                 .collection = own.transfer.collection,
                 .shard = own.transfer.shard,
                 .from = own.transfer.from,
                 .to = own.transfer.to,
                 .bytes = own.bytes};
    work.state = State::kRunning;
    work.again = false;
    work.since = parts_.clock.Monotonic();
    work.next_look = work.since;
    context_.progress().Expect(std::to_string(work.step.to.value()), work.step.bytes, 1);
    works.push_back(std::move(work));
  }
  return Carry(works);
}

std::vector<RebalanceStep> RebalanceSteps::StillToRun(const RebalancePlan& plan) const {
  std::vector<RebalanceStep> steps;
  std::set<std::pair<std::string, ShardId>> blocked;
  for (const RebalanceStep& step : plan.steps) {
    if (given_up_.contains(KeyOf(step))) blocked.emplace(step.collection, step.shard);
    if (!blocked.contains({step.collection, step.shard})) steps.push_back(step);
  }
  return steps;
}

bool RebalanceSteps::OnlyGivenUp(const RebalancePlan& plan, std::vector<std::string>& left) const {
  for (const RebalanceStep& step : plan.steps) {
    const auto found = given_up_.find(KeyOf(step));
    if (found != given_up_.end()) left.push_back(found->second.message());
  }
  return StillToRun(plan).empty();
}

Status RebalanceSteps::Run(const RebalancePlan& plan) {
  lost_.clear();
  context_.progress().BeginPhase("move");
  Works works;
  for (const RebalanceStep& step : StillToRun(plan)) {
    if (step.action != RebalanceAction::kDrop) {
      context_.progress().Expect(std::to_string(step.to.value()), step.bytes, 1);
    }
    Work work;
    work.step = step;
    works.push_back(std::move(work));
  }
  return Carry(works);
}

Status RebalanceSteps::Carry(Works& works) {
  Duration pause = kPollMin;
  for (;;) {
    HF_RETURN_IF_ERROR(parts_.clock.Check(context_.call()));
    HF_TRY(const bool went_on, LookAtRunning(works));
    HF_TRY(const bool started, StartSome(works));
    const bool all_ended = std::ranges::all_of(works, [](const Work& work) {
      return work.state == State::kDone || work.state == State::kFailed;
    });
    if (all_ended) return {};
    pause = went_on || started ? kPollMin : std::min(kPollMax, pause * 5 / 4);
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(context_.call(), pause));
  }
}

/// An error of a look at the cluster that may be over soon.
bool RebalanceSteps::Tolerable(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kUnavailable:
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kAborted:
    case ErrorCode::kResourceExhausted:
      break;
    default:
      return false;
  }
  const MonotonicTime now = parts_.clock.Monotonic();
  if (!blind_since_) blind_since_ = now;
  return parts_.clock.Check(context_.call()).ok() && now < *blind_since_ + kBlindPatience;
}

bool RebalanceSteps::Gone(const std::string& collection) {
  const MonotonicTime now = parts_.clock.Monotonic();
  const MonotonicTime since = missing_since_.try_emplace(collection, now).first->second;
  return now >= since + kUnseenPatience;
}

Result<bool> RebalanceSteps::LookAtRunning(Works& works) {
  std::map<std::string, std::vector<Work*>> running;
  for (Work& work : works) {
    if (work.state == State::kRunning) running[work.step.collection].push_back(&work);
  }
  bool went_on = false;
  for (auto& [name, group] : running) {
    const auto now = parts_.engine.ReadCollection(context_.call(), name);
    if (!now.ok() && now.error().code() == ErrorCode::kNotFound) {
      if (!Gone(name)) continue;
      for (Work* const work : group) {
        Leave(*work, now.error());
        HF_RETURN_IF_ERROR(Forget(RefOf(work->step)));
      }
      went_on = true;
      continue;
    }
    if (!now.ok() && Tolerable(now.error())) continue;
    if (!now.ok()) return now.error();
    blind_since_.reset();
    missing_since_.erase(name);
    for (Work* const work : group) {
      HF_TRY(const bool changed, Judge(*work, *now));
      went_on = went_on || changed;
    }
  }
  return went_on;
}

/// What has become of a running transfer. True when it has ended.
Result<bool> RebalanceSteps::Judge(Work& work, const Collection& now) {
  const RebalanceStep& step = work.step;
  const TransferRef ref = RefOf(step);
  const MonotonicTime clock = parts_.clock.Monotonic();
  for (const ShardTransfer& listed : now.transfers) {
    if (IsTransfer(listed, ref)) {
      const TransferProgress progress = parts_.engine.ProgressOf(listed);
      if (progress.points_total > 0) {
        const double share =
            static_cast<double>(progress.points_done) / static_cast<double>(progress.points_total);
        Count(work, static_cast<std::uint64_t>(static_cast<double>(step.bytes) * share));
      }
      work.since = clock;
      return LookAtPeers(work);
    }
  }
  const auto target = now.StateOf(step.shard, step.to);
  const bool source_stays = now.StateOf(step.shard, step.from).has_value();
  const bool done = target == ReplicaState::kActive &&
                    (step.action == RebalanceAction::kReplicate || !source_stays);
  if (done) {
    HF_RETURN_IF_ERROR(Done(work));
    return true;
  }
  if (work.refused && clock >= work.since + kRefusedPatience) {
    const Error why = *std::exchange(work.refused, std::nullopt);
    HF_RETURN_IF_ERROR(Forget(ref));
    context_.Warn(why.message());
    Leave(work, why);
    return true;
  }
  if (clock < work.since + kUnseenPatience) return false;
  const std::string what = target ? "the new replica is " + std::string(ReplicaStateName(*target))
                                  : "the new replica is not there";
  HF_RETURN_IF_ERROR(Failed(
      work, Error(ErrorCode::kAborted, Doing(step) + ": the transfer has ended, and " + what)));
  return true;
}

bool RebalanceSteps::Answers(PeerId peer, const RebalanceStep& step) {
  const auto health = parts_.engine.ReadHealth(
      context_.call(), {.peer = peer, .collection = step.collection, .shard = step.shard});
  return health.ok() || health.error().code() != ErrorCode::kUnavailable;
}

/// A transfer whose source has died stays listed for ever. True when it was ended for that.
Result<bool> RebalanceSteps::LookAtPeers(Work& work) {
  const MonotonicTime now = parts_.clock.Monotonic();
  if (now < work.next_look) return false;
  work.next_look = now + kLookEvery;
  const PeerId from = work.step.from;
  const PeerId to = work.step.to;
  const PeerId* const silent = !Answers(from, work.step) ? &from
                               : !Answers(to, work.step) ? &to
                                                         : nullptr;
  if (silent == nullptr) {
    work.silent_since.reset();
    return false;
  }
  HF_RETURN_IF_ERROR(parts_.clock.Check(context_.call()));
  if (!work.silent_since) work.silent_since = now;
  if (now < *work.silent_since + kSilencePatience) return false;
  lost_.insert(*silent);
  HF_RETURN_IF_ERROR(Failed(
      work, Error(ErrorCode::kAborted,
                  Doing(work.step) + ": " + FormatPeer(*silent) + " has stopped answering")));
  return true;
}

// --- starting ------------------------------------------------------------------------------------

Result<bool> RebalanceSteps::StartSome(Works& works) {
  std::uint32_t running = 0;
  std::map<PeerId, std::uint32_t> receiving;
  for (const Work& work : works) {
    if (work.state != State::kRunning) continue;
    ++running;
    ++receiving[work.step.to];
  }
  // Steps of one shard build on each other.
  std::map<std::pair<std::string, ShardId>, State> before;
  bool any = false;
  for (Work& work : works) {
    State& earlier =
        before.try_emplace({work.step.collection, work.step.shard}, State::kDone).first->second;
    if (work.state == State::kWaiting && earlier == State::kFailed) {
      work.state = State::kFailed;
    } else if (work.state == State::kWaiting && earlier == State::kDone) {
      const bool lost = work.step.action != RebalanceAction::kDrop &&
                        (lost_.contains(work.step.from) || lost_.contains(work.step.to));
      const MonotonicTime now = parts_.clock.Monotonic();
      if (lost) {
        work.state = State::kFailed;
      } else if (work.step.action == RebalanceAction::kDrop) {
        HF_RETURN_IF_ERROR(Drop(work, works));
        any = true;
      } else if (now >= work.not_before && now >= paid_until_ &&
                 running < options_.transfers_at_once &&
                 receiving[work.step.to] < options_.request.receives_at_once) {
        HF_TRY(const bool began, Start(work));
        any = any || began;
        if (work.state == State::kRunning) {
          ++running;
          ++receiving[work.step.to];
        }
      }
    }
    if (work.state != State::kDone) earlier = work.state;
  }
  return any;
}

/// True when something has become of it.
Result<bool> RebalanceSteps::Start(Work& work) {
  const RebalanceStep& step = work.step;
  const CallContext& call = context_.call();
  const TransferRef ref = RefOf(step);
  const auto now = parts_.engine.ReadCollection(call, step.collection);
  if (!now.ok() && now.error().code() == ErrorCode::kNotFound) {
    if (!Gone(step.collection)) return false;
    Leave(work, now.error());
    return true;
  }
  if (!now.ok() && Tolerable(now.error())) return false;
  if (!now.ok()) return now.error();
  blind_since_.reset();
  missing_since_.erase(step.collection);
  // What others do has come first: a new plan sees to it.
  const bool theirs = std::ranges::any_of(
      now->transfers, [&](const ShardTransfer& one) { return one.shard == step.shard; });
  if (theirs || !now->resharding.empty() || now->StateOf(step.shard, step.to) ||
      now->StateOf(step.shard, step.from) != ReplicaState::kActive) {
    work.state = State::kFailed;
    return true;
  }
  journal_.own.push_back({.transfer = ref, .kind = KindOf(step), .bytes = step.bytes});
  HF_RETURN_IF_ERROR(Save());
  changed_ = true;
  const MonotonicTime began = parts_.clock.Monotonic();
  const Status started = parts_.engine.StartTransfer(call, ref, KindOf(step));
  if (options_.bytes_per_second > 0) {
    const double seconds =
        static_cast<double>(step.bytes) / static_cast<double>(options_.bytes_per_second);
    paid_until_ = began + Duration(static_cast<std::int64_t>(seconds * 1e6));
  }
  work.since = parts_.clock.Monotonic();
  work.next_look = work.since + kLookEvery;
  work.silent_since.reset();
  work.refused.reset();
  work.state = State::kRunning;
  if (started.ok()) return true;
  switch (started.error().code()) {
    case ErrorCode::kUnavailable:
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kAborted:
      // It may have begun all the same: what is there from now on tells.
      return true;
    case ErrorCode::kFailedPrecondition:
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kNotFound:
    case ErrorCode::kResourceExhausted:
      work.refused = started.error();
      return true;
    default:
      return started.error();
  }
}

// --- ends ----------------------------------------------------------------------------------------

void RebalanceSteps::Count(Work& work, std::uint64_t bytes) {
  const std::string lane = std::to_string(work.step.to.value());
  if (bytes > work.counted) {
    context_.progress().AddBytes(lane, bytes - work.counted);
  } else if (bytes < work.counted) {
    context_.progress().TakeBack(lane, work.counted - bytes);
  }
  work.counted = bytes;
}

Status RebalanceSteps::Done(Work& work) {
  const RebalanceStep& step = work.step;
  work.state = State::kDone;
  ++done_;
  if (step.action == RebalanceAction::kDrop) {
    ++journal_.dropped;
  } else {
    ++(step.action == RebalanceAction::kMove ? journal_.moved : journal_.replicated);
    journal_.bytes += step.bytes;
    Count(work, step.bytes);
    context_.progress().AddItem(std::to_string(step.to.value()));
  }
  HF_RETURN_IF_ERROR(Forget(RefOf(step)));
  const auto recorded = context_.Step(KeyOf(step), [&](const CallContext&) -> Result<std::string> {
    return json::Dump({{"bytes", step.bytes}});
  });
  return recorded.ok() ? Status() : Status(recorded.error());
}

/// Without another try in this plan.
void RebalanceSteps::Leave(Work& work, const Error& why) {
  work.state = State::kFailed;
  Count(work, 0);
  const std::string key = KeyOf(work.step);
  if (++tries_[key] < kTriesMax) return;
  given_up_.insert_or_assign(key, why);
}

Status RebalanceSteps::Failed(Work& work, const Error& why) {
  const RebalanceStep& step = work.step;
  const TransferRef ref = RefOf(step);
  HF_RETURN_IF_ERROR(CleanUp(context_.call(), ref, KindOf(step)));
  HF_RETURN_IF_ERROR(Forget(ref));
  Count(work, 0);
  for (const PeerId peer : {step.from, step.to}) {
    if (!lost_.contains(peer) && !Answers(peer, step)) lost_.insert(peer);
  }
  HF_RETURN_IF_ERROR(parts_.clock.Check(context_.call()));
  context_.Warn(why.message());
  if (!work.again || lost_.contains(step.from) || lost_.contains(step.to)) {
    work.state = State::kFailed;
    return {};
  }
  Leave(work, why);
  if (given_up_.contains(KeyOf(step))) return {};
  work.state = State::kWaiting;
  work.method.clear();
  work.not_before = parts_.clock.Monotonic() + kTryPause * tries_[KeyOf(step)];
  return {};
}

}  // namespace holdfast
