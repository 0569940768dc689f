#include "ops/reshard/native_reshard.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <iterator>
#include <utility>

#include "model/json.h"
#include "ops/restore_op.h"

namespace holdfast {
namespace {

constexpr Duration kPoll = std::chrono::milliseconds(200);
/// How often the peers are looked at while points are on their way, and how long one may be silent.
constexpr Duration kPeersPoll = std::chrono::seconds(5);
constexpr Duration kPeerPatience = std::chrono::seconds(20);
/// How long a transfer that has begun may be unknown to a peer.
constexpr Duration kSeenPatience = std::chrono::seconds(3);
/// How long the servers may take to make a replica anew that points are to be migrated into.
constexpr Duration kRecoverPatience = std::chrono::minutes(5);

/// Version 4 (RFC 9562).
std::string NewUuid(Random& random) {
  const unsigned long long high = random.Next();
  const unsigned long long low = random.Next();
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%08llx-%04llx-4%03llx-%04llx-%012llx", high >> 32U,
                high >> 16U & 0xFFFFU, high & 0xFFFU, (low >> 48U & 0x3FFFU) | 0x8000U,
                low & 0xFFFF'FFFF'FFFFU);
  return text.data();
}

/// The server can no longer be made to do it, or somebody must look: not worth another try.
bool IsServerGivingUp(const Error& error) { return error.code() == ErrorCode::kAborted; }

Error GaveUp(const std::string& collection) {
  return {
      ErrorCode::kAborted,
      "the cluster gave up resharding '" + collection + "': a replica or a transfer of it failed",
      "`holdfast topology` shows the replicas; then try again"};
}

}  // namespace

NativeReshard::NativeReshard(NativeReshardParts parts, NativeReshardOptions options)
    : parts_(parts), options_(std::move(options)) {}

Result<NativeReshardPlan> NativeReshard::Preview(const CallContext& call) {
  NativeReshardRequest request = options_.request;
  request.fenced = parts_.fence != nullptr;
  HF_TRY(request.allowed, parts_.engine.CanReshard(call));
  HF_TRY(Topology topology, parts_.engine.ReadTopology(call));
  parts_.engine.ReadSizes(call, topology);
  return PlanNativeReshard(topology, request);
}

Result<Collection> NativeReshard::Read(const CallContext& call) {
  HF_TRY(Collection now,
         Again(call, [&] { return parts_.engine.ReadCollection(call, plan_.collection); }));
  if (now.uuid == plan_.uuid) return now;
  return Error(
      ErrorCode::kFailedPrecondition,
      "'" + plan_.collection + "' is another collection by now: it was dropped and made again");
}

Result<NativeReshardOutcome> NativeReshard::Run(StepContext& context) {
  job_ = context.job().value();
  unsettled_ = context.attempt() > 1;
  Result<NativeReshardOutcome> done = Work(context);
  const bool stopped = !done.ok() && done.error().code() == ErrorCode::kCancelled &&
                       options_.user_stop.stop_requested();
  if (stopped && unsettled_) return Unsettled(context, std::move(done).error());
  if (stopped) {
    return Error(ErrorCode::kCancelled,
                 "stopped; the round that was under way was taken back or brought to its end, and "
                 "those before it stay",
                 "`holdfast topology` shows how many shards '" + plan_.collection + "' has");
  }
  return done;
}

Result<NativeReshardOutcome> NativeReshard::Work(StepContext& context) {
  context.progress().BeginPhase("plan");
  HF_TRY(
      const std::string planned,
      context.Step("native/plan", [&](const CallContext& call) -> Result<std::string> {
        HF_TRY(const NativeReshardPlan plan, Preview(call));
        HF_RETURN_IF_ERROR(parts_.engine.CheckRights(call, Purpose::kRestore, {plan.collection}));
        return NativeReshardPlanToJson(plan);
      }));
  HF_TRY(plan_, NativeReshardPlanFromJson(planned));
  outcome_.warnings = plan_.warnings;
  context.progress().BeginPhase("reshard");
  context.progress().Expect(plan_.collection, 0, plan_.rounds.size());
  for (std::size_t i = 0; i < plan_.rounds.size(); ++i) {
    HF_RETURN_IF_ERROR(RunRound(context, plan_.rounds[i], i));
    context.progress().AddItem(plan_.collection);
  }
  unsettled_ = false;
  const CallContext& call = context.call();
  HF_TRY(const Collection now, Read(call));
  outcome_.rounds = static_cast<std::uint32_t>(plan_.rounds.size());
  outcome_.shards = static_cast<std::uint32_t>(now.shards.size());
  HF_RETURN_IF_ERROR(CountAll(call, now));
  return outcome_;
}

Status NativeReshard::RunRound(StepContext& context, const ReshardRound& round,
                               std::size_t number) {
  const std::string key = "native/round/" + std::to_string(number);
  const auto run = [&](const CallContext& call) -> Result<std::string> {
    const auto first = FirstTry(context, key);
    if (!first.ok()) return Unsettled(context, first.error());
    for (int tries = *first;; ++tries) {
      Try now{.round = round,
              .prefix = key + "/try/" + std::to_string(tries) + "/",
              .uuid = {},
              .shard = {}};
      past_return_ = false;
      const Status ended = RunTry(context, now);
      if (ended.ok()) {
        unsettled_ = false;
        return std::string("{}");
      }
      // A round that readers were switched to is brought to its end, never begun anew.
      const bool again = IsServerGivingUp(ended.error()) && !past_return_ &&
                         tries < options_.tries_per_round && parts_.clock.Check(call).ok();
      // Somebody must bring it to its end, and only this job knows how.
      if (!again && past_return_) context.LeaveInterrupted();
      if (!again) return ended.error();
      context.Warn("resharding '" + plan_.collection + "' begins anew: " + ended.error().message());
    }
  };
  const auto done = context.Step(key, run);
  return done.ok() ? Status() : Status(done.error());
}

/// Known before it is used: after a crash the resharding that runs is known to be ours.
Result<std::string> NativeReshard::UuidOf(StepContext& context, const std::string& prefix) {
  HF_TRY(const std::string named,
         context.Step(prefix + "uuid", [&](const CallContext&) -> Result<std::string> {
           return json::Dump(NewUuid(parts_.random));
         }));
  HF_TRY(const json::Json uuid, json::Parse(named, "a recorded UUID"));
  if (uuid.is_string()) return uuid.get<std::string>();
  return Error(ErrorCode::kDataLoss, "the job's record of the UUID is damaged");
}

/// An earlier run may have begun the round anew: what runs now tells which try it is of.
Result<int> NativeReshard::FirstTry(StepContext& context, const std::string& round) {
  if (context.attempt() == 1) return 1;
  HF_TRY(const auto running, Again(context.call(), [&] {
           return parts_.engine.ReadResharding(context.call(), plan_.collection);
         }));
  for (int tries = 1; running && tries <= options_.tries_per_round; ++tries) {
    HF_TRY(const std::string uuid, UuidOf(context, round + "/try/" + std::to_string(tries) + "/"));
    if (running->uuid == uuid) return tries;
  }
  return 1;
}

Status NativeReshard::RunTry(StepContext& context, Try& now) {
  const auto uuid = UuidOf(context, now.prefix);
  if (!uuid.ok()) return context.attempt() == 1 ? uuid.error() : Unsettled(context, uuid.error());
  now.uuid = *uuid;
  const Status done = CarryOut(context, now);
  return done.ok() || past_return_ ? done : TakeBack(context, now, done.error());
}

Status NativeReshard::CarryOut(StepContext& context, Try& now) {
  // Another run of the job had ended it, and came no further.
  HF_TRY(const auto running, Again(context.call(), [&] {
           return parts_.engine.ReadResharding(context.call(), plan_.collection);
         }));
  HF_TRY(const Collection there, Read(context.call()));
  if (running || ShardsOf(there, now.round.key) != now.round.to) {
    HF_RETURN_IF_ERROR(Start(context, now));
    const bool up = now.round.direction == ReshardDirection::kUp;
    HF_RETURN_IF_ERROR(up ? MigrateUp(context, now) : MigrateDown(context, now));
    HF_RETURN_IF_ERROR(CheckPeers(context.call()));
  }
  return Complete(context, now);
}

Status NativeReshard::CheckOwn(const CallContext& call, const Try& now) {
  HF_TRY(const auto running,
         Again(call, [&] { return parts_.engine.ReadResharding(call, plan_.collection); }));
  if (!running) return GaveUp(plan_.collection);
  if (running->uuid == now.uuid) return {};
  return Error(ErrorCode::kBusy,
               "somebody else is resharding '" + plan_.collection + "' (" + running->uuid + ")",
               "wait until it has ended; `holdfast topology` shows it");
}

Status NativeReshard::Start(StepContext& context, Try& now) {
  HF_TRY(const std::string shard,
         context.Step(now.prefix + "start", [&](const CallContext& call) -> Result<std::string> {
           HF_TRY(const ShardId started, Again(call, [&] { return StartOwn(call, now); }));
           return std::to_string(started.value());
         }));
  HF_TRY(const json::Json number, json::Parse(shard, "a recorded shard"));
  if (!number.is_number_unsigned()) {
    return Error(ErrorCode::kDataLoss, "the job's record of the shard is damaged");
  }
  now.shard = ShardId(number.get<std::uint32_t>());
  return {};
}

/// After an error the call may have taken effect, or may yet: the state is looked at first.
Result<ShardId> NativeReshard::StartOwn(const CallContext& call, const Try& now) {
  HF_TRY(const auto running, parts_.engine.ReadResharding(call, plan_.collection));
  if (running && running->uuid == now.uuid) return running->shard;
  if (running) return CheckOwn(call, now).error();
  HF_TRY(const Collection before, Read(call));
  if (ShardsOf(before, now.round.key) != now.round.from) {
    return Error(ErrorCode::kFailedPrecondition,
                 "'" + plan_.collection + "' no longer has the shards that were planned for",
                 "begin anew without --resume");
  }
  Resharding wanted{.uuid = now.uuid,
                    .direction = now.round.direction,
                    .shard = {},
                    .peer = {},
                    .key = now.round.key};
  if (now.round.direction == ReshardDirection::kUp) {
    wanted.peer = now.round.peers.front();
  } else {
    for (const Shard& shard : before.shards) {
      if (shard.key == now.round.key) wanted.peer = shard.replicas.front().peer;
    }
  }
  HF_RETURN_IF_ERROR(parts_.engine.StartResharding(call, plan_.collection, wanted));
  HF_TRY(const auto started, parts_.engine.ReadResharding(call, plan_.collection));
  if (!started) return GaveUp(plan_.collection);
  if (started->uuid != now.uuid) return CheckOwn(call, now).error();
  return started->shard;
}

Status NativeReshard::MigrateUp(StepContext& context, const Try& now) {
  HF_TRY(const Collection there, Read(context.call()));
  const ReplicaRef fresh{
      .peer = now.round.peers.front(), .collection = plan_.collection, .shard = now.shard};
  for (const Shard& shard : there.shards) {
    if (shard.key != now.round.key || shard.id == now.shard) continue;
    HF_TRY(const std::string moved,
           context.Step(now.prefix + "migrate/" + std::to_string(shard.id.value()),
                        [&](const CallContext& call) -> Result<std::string> {
                          const ReplicaRef from{.peer = Readable(shard).peer,
                                                .collection = plan_.collection,
                                                .shard = shard.id};
                          HF_RETURN_IF_ERROR(
                              Again(call, [&] { return Migrate(call, now, from, fresh); }));
                          return std::string("{}");
                        }));
  }
  HF_RETURN_IF_ERROR(CheckOwn(context.call(), now));
  HF_RETURN_IF_ERROR(
      Again(context.call(), [&] { return parts_.engine.FinishMigration(context.call(), fresh); }));
  for (std::size_t i = 1; i < now.round.peers.size(); ++i) {
    HF_RETURN_IF_ERROR(
        Again(context.call(), [&] { return Replicate(context.call(), now, now.round.peers[i]); }));
  }
  return CheckOwn(context.call(), now);
}

Status NativeReshard::MigrateDown(StepContext& context, const Try& now) {
  HF_TRY(const Collection there, Read(context.call()));
  const Shard* const gone = there.FindShard(now.shard);
  if (gone == nullptr) return GaveUp(plan_.collection);
  const ReplicaRef from{
      .peer = Readable(*gone).peer, .collection = plan_.collection, .shard = now.shard};
  std::vector<ReplicaRef> targets;
  for (const Shard& shard : there.shards) {
    if (shard.key != now.round.key || shard.id == now.shard) continue;
    for (const Replica& replica : shard.replicas) {
      targets.push_back({.peer = replica.peer, .collection = plan_.collection, .shard = shard.id});
    }
  }
  for (const ReplicaRef& into : targets) {
    const std::string key = now.prefix + "migrate/" + std::to_string(into.shard.value()) + "/" +
                            std::to_string(into.peer.value());
    HF_TRY(const std::string moved,
           context.Step(key, [&](const CallContext& call) -> Result<std::string> {
             HF_RETURN_IF_ERROR(AwaitTarget(call, now, into));
             HF_RETURN_IF_ERROR(Again(call, [&] { return Migrate(call, now, from, into); }));
             return std::string("{}");
           }));
  }
  // Not before all have their part: until then one that fails ends the resharding, and afterwards
  // it is made anew from one that has it.
  HF_RETURN_IF_ERROR(CheckOwn(context.call(), now));
  for (const ReplicaRef& into : targets) {
    HF_RETURN_IF_ERROR(
        Again(context.call(), [&] { return parts_.engine.FinishMigration(context.call(), into); }));
  }
  return {};
}

/// What the servers are making anew from another replica would lose what is migrated into it.
Status NativeReshard::AwaitTarget(const CallContext& call, const Try& now, const ReplicaRef& into) {
  const MonotonicTime until = parts_.clock.Monotonic() + kRecoverPatience;
  MonotonicTime look = parts_.clock.Monotonic() + kPeersPoll;
  for (;;) {
    HF_TRY(const Collection there, Read(call));
    const auto state = there.StateOf(into.shard, into.peer);
    if (state == ReplicaState::kActive || state == ReplicaState::kReshardingScaleDown) return {};
    HF_RETURN_IF_ERROR(CheckOwn(call, now));
    HF_RETURN_IF_ERROR(CheckPeersAt(call, look));
    if (parts_.clock.Monotonic() >= until) return GaveUp(plan_.collection);
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kPoll));
  }
}

/// Migrating again is harmless (transcript 6), so after an error it is simply begun again, unless
/// it runs.
Status NativeReshard::Migrate(const CallContext& call, const Try& now, const ReplicaRef& from,
                              const ReplicaRef& to) {
  const auto runs = [&](const Collection& collection) {
    return std::ranges::any_of(collection.transfers, [&](const ShardTransfer& transfer) {
      return transfer.shard == from.shard && transfer.to_shard == to.shard &&
             transfer.from == from.peer && transfer.to == to.peer;
    });
  };
  HF_TRY(Collection there, Read(call));
  const MonotonicTime until = parts_.clock.Monotonic() + kSeenPatience;
  while (!runs(there)) {
    // Immediately before: to a shard that an abort has removed it would end the cluster's
    // consensus.
    HF_RETURN_IF_ERROR(CheckOwn(call, now));
    const Status begun = parts_.engine.MigratePoints(call, from, to);
    if (begun.ok()) break;
    // The peer that was asked may not have heard yet of what an earlier run of the job had begun.
    const bool refused = begun.error().code() == ErrorCode::kFailedPrecondition;
    if (!refused || parts_.clock.Monotonic() >= until) return begun;
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kPoll));
    HF_TRY(there, Read(call));
  }
  MonotonicTime look = parts_.clock.Monotonic() + kPeersPoll;
  do {
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kPoll));
    HF_TRY(there, Read(call));
    HF_RETURN_IF_ERROR(CheckPeersAt(call, look));
  } while (runs(there));
  return CheckOwn(call, now);
}

/// From `look` on, while a transfer is waited for: one of a dead peer stays listed for ever.
Status NativeReshard::CheckPeersAt(const CallContext& call, MonotonicTime& look) {
  if (parts_.clock.Monotonic() < look) return {};
  HF_RETURN_IF_ERROR(CheckPeers(call));
  look = parts_.clock.Monotonic() + kPeersPoll;
  return {};
}

/// Without every peer of the collection a round could be begun and not be ended.
Status NativeReshard::CheckPeers(const CallContext& call) {
  const MonotonicTime until = parts_.clock.Monotonic() + kPeerPatience;
  for (;;) {
    HF_TRY(const Topology cluster, Again(call, [&] { return parts_.engine.ReadTopology(call); }));
    const Collection* const there = cluster.FindCollection(plan_.collection);
    std::string silent;
    for (const Shard& shard : there == nullptr ? std::vector<Shard>() : there->shards) {
      for (const Replica& replica : shard.replicas) {
        const Peer* const peer = cluster.FindPeer(replica.peer);
        if (peer == nullptr || !peer->answers) silent = std::to_string(replica.peer.value());
      }
    }
    if (silent.empty()) return {};
    if (parts_.clock.Monotonic() >= until) {
      return Error(ErrorCode::kFailedPrecondition,
                   "peer " + silent + ", which has a part of '" + plan_.collection +
                       "', does not answer any more",
                   "start it, wait until its replicas are Active, and run the command again");
    }
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kPoll));
  }
}

Status NativeReshard::Replicate(const CallContext& call, const Try& now, PeerId to) {
  const TransferRef transfer{.collection = plan_.collection,
                             .shard = now.shard,
                             .from = now.round.peers.front(),
                             .to = to};
  MonotonicTime look = parts_.clock.Monotonic() + kPeersPoll;
  for (bool begun = false;;) {
    HF_TRY(const Collection there, Read(call));
    if (there.FindShard(now.shard) == nullptr) return GaveUp(plan_.collection);
    HF_RETURN_IF_ERROR(CheckPeersAt(call, look));
    if (there.StateOf(now.shard, to) == ReplicaState::kActive) return {};
    const bool runs = std::ranges::any_of(
        there.transfers, [&](const ShardTransfer& one) { return IsTransfer(one, transfer); });
    if (!runs && begun) {
      return Error(ErrorCode::kUnavailable,
                   "the new shard did not reach peer " + std::to_string(to.value()));
    }
    if (!runs) {
      HF_RETURN_IF_ERROR(CheckOwn(call, now));
      HF_RETURN_IF_ERROR(parts_.engine.StartTransfer(call, transfer, TransferKind::kReplicate));
    }
    begun = true;
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kPoll));
  }
}

Error NativeReshard::TakeBack(StepContext& context, const Try& now, Error error) {
  const bool may_be_resumed =
      error.code() == ErrorCode::kCancelled && !options_.user_stop.stop_requested();
  if (may_be_resumed) return error;
  const CallContext call = parts_.clock.Within({}, kCleanUpPatience);
  const Status aborted = Again(call, [&]() -> Status {
    const auto running = parts_.engine.ReadResharding(call, plan_.collection);
    if (!running.ok() && running.error().code() != ErrorCode::kNotFound) return running.error();
    if (!running.ok() || !*running || (*running)->uuid != now.uuid) return {};
    HF_RETURN_IF_ERROR(parts_.engine.TakeStep(call, plan_.collection, ReshardStep::kAbort));
    return now.round.direction == ReshardDirection::kDown ? CleanAll(call, now) : Status();
  });
  if (aborted.ok()) {
    unsettled_ = false;
    return error;
  }
  return Unsettled(context, std::move(error).While("resharding '" + plan_.collection +
                                                   "' could not be taken back (" +
                                                   aborted.error().message() + ")"));
}

/// A resharding of ours may be left. Only this job knows that it is its own, so that it does not
/// end, also not with Ctrl-C.
Error NativeReshard::Unsettled(StepContext& context, Error error) const {
  context.LeaveInterrupted();
  // Nor is the round begun anew beside what is left.
  if (error.code() == ErrorCode::kCancelled || IsServerGivingUp(error)) {
    error = std::move(error).As(ErrorCode::kFailedPrecondition);
  }
  return std::move(error).WithHint("run " + ResumeCommand() +
                                   ": it brings what may be left to its end");
}

}  // namespace holdfast
