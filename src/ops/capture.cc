#include "ops/capture.h"

#include <algorithm>
#include <charconv>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "base/size.h"
#include "exec/thread_group.h"
#include "exec/wait.h"
#include "model/json.h"
#include "ops/shard_pipeline.h"
#include "ops/tombstones.h"

namespace holdfast {
namespace {

constexpr Duration kSettlePoll = std::chrono::milliseconds(250);
/// Tombstones are written to the repository from memory: ids of at most 40 bytes.
constexpr std::size_t kTombstoneBytesMax = 64 * kMiB;

/// Both counts and the operation number of a replica at one instant.
struct Look {
  ReplicaHealth health;
  PointCounts counts;
  /// When both had been read.
  MonotonicTime at;
};

/// Instants of one stream, and a way to wait for its first byte.
class CutWatch final : public CaptureObserver {
 public:
  explicit CutWatch(Clock& clock) : clock_(clock) {}

  void OnRequest(MonotonicTime at) override {
    const std::scoped_lock lock(mutex_);
    begin_ = at;
  }
  void OnFirstByte(MonotonicTime at) override {
    const std::scoped_lock lock(mutex_);
    if (!end_) end_ = at;
    changed_.notify_all();
  }
  void OnEnded() {
    const std::scoped_lock lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }
  /// True when the first byte is in, false when the stream ended without one.
  Result<bool> AwaitFirstByte(const CallContext& call) {
    std::unique_lock lock(mutex_);
    HF_RETURN_IF_ERROR(WaitUntil(call, clock_, changed_, lock, [&] { return end_ || ended_; }));
    return end_.has_value();
  }
  MonotonicTime begin() {
    const std::scoped_lock lock(mutex_);
    return begin_;
  }
  MonotonicTime end() {
    const std::scoped_lock lock(mutex_);
    return end_.value_or(begin_);
  }

 private:
  Clock& clock_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  MonotonicTime begin_{};
  std::optional<MonotonicTime> end_;
  bool ended_ = false;
};

/// Why a try gave nothing, and what to do next.
enum class Next { kSameSource, kOtherSource, kStage, kGiveUp };

struct Failure {
  Next next;
  Error error;
};

/// The bytes of a stream, counted for the progress display; taken back when the stream fails.
class CountedSink final : public ByteSink {
 public:
  CountedSink(ByteSink& inner, Progress& progress, std::string lane)
      : inner_(inner), progress_(progress), lane_(std::move(lane)) {}
  ~CountedSink() override {
    if (!kept_) progress_.TakeBack(lane_, bytes_);
  }
  Status Write(const CallContext& call, ByteView bytes) override {
    HF_RETURN_IF_ERROR(inner_.Write(call, bytes));
    bytes_ += bytes.size();
    progress_.AddBytes(lane_, bytes.size());
    return {};
  }
  void Keep() { kept_ = true; }

 private:
  ByteSink& inner_;
  Progress& progress_;
  const std::string lane_;
  std::uint64_t bytes_ = 0;
  bool kept_ = false;
};

class ShardCapture {
 public:
  ShardCapture(const CallContext& call, const CaptureTools& tools, const CaptureSettings& settings,
               const Collection& collection, const CaptureStep& step, StagedSnapshots& staged,
               GatePass& gate)
      : call_(call),
        tools_(tools),
        settings_(settings),
        collection_(collection),
        step_(step),
        staged_(staged),
        gate_(gate) {}

  Result<CapturedShard> Run() {
    if (step_.mode == CaptureMode::kStaged) return Finished(StageAny());
    bool want_staged = false;
    for (const PeerId peer : Ordered()) {
      for (int tries = 0; tries < settings_.tries_per_source; ++tries) {
        auto taken = Stream(peer, /*keep_suspect=*/false);
        if (taken.ok()) return Finished(std::move(taken));
        const Failure failure = Classify(std::move(taken).error());
        Remember(peer, failure.error);
        if (failure.next == Next::kGiveUp) return Explained(failure.error);
        want_staged = want_staged || failure.next == Next::kStage;
        if (failure.next != Next::kSameSource) break;
      }
    }
    if (!suspects_.empty() || (want_staged && settings_.mode != ModeChoice::kStream)) {
      return Finished(Resolve(want_staged));
    }
    return Explained(*last_);
  }

 private:
  ReplicaRef Ref(PeerId peer) const {
    return {.peer = peer, .collection = step_.collection, .shard = step_.shard};
  }
  std::string Lane(PeerId peer) const { return std::to_string(peer.value()); }

  /// Sources, those that are at rest first; waits up to `settle` for the first one to come to rest.
  std::vector<PeerId> Ordered() {
    const MonotonicTime until = tools_.clock.Monotonic() + settings_.settle;
    for (;;) {
      for (const PeerId peer : step_.sources) {
        const auto health = tools_.engine.ReadHealth(call_, Ref(peer));
        if (!health.ok() || !health->idle()) continue;
        std::vector<PeerId> order = step_.sources;
        std::ranges::rotate(order, std::ranges::find(order, peer));
        return order;
      }
      if (tools_.clock.Monotonic() >= until) return step_.sources;
      if (!tools_.clock.SleepFor(call_, kSettlePoll).ok()) return step_.sources;
    }
  }

  Result<Look> LookAt(PeerId peer) {
    HF_TRY(ReplicaHealth health, tools_.engine.ReadHealth(call_, Ref(peer)));
    HF_TRY(const PointCounts counts, tools_.engine.CountPoints(call_, Ref(peer)));
    return Look{.health = health, .counts = counts, .at = tools_.clock.Monotonic()};
  }

  Failure Classify(Error error) {
    switch (error.code()) {
      case ErrorCode::kCancelled:
      case ErrorCode::kPermissionDenied:
      case ErrorCode::kInternal:
        return {Next::kGiveUp, std::move(error)};
      case ErrorCode::kAborted:  // suspect, or the peer is another one now
      case ErrorCode::kNotFound:
      case ErrorCode::kFailedPrecondition:
        return {Next::kOtherSource, std::move(error)};
      case ErrorCode::kResourceExhausted:
        return {Next::kStage, std::move(error)};
      default:
        return {Next::kSameSource, std::move(error)};
    }
  }

  void Remember(PeerId peer, const Error& error) {
    last_ = error;
    history_ += (history_.empty() ? "peer " : "; peer ") + std::to_string(peer.value()) + ": " +
                error.message();
  }

  Error Explained(const Error& error) const {
    return Error(error.code(),
                 "shard " + std::to_string(step_.shard.value()) + " of '" + step_.collection +
                     "': " + (history_.empty() ? error.message() : history_),
                 error.hint());
  }

  Result<CapturedShard> Finished(Result<CapturedShard> taken) {
    if (!taken.ok()) return Explained(taken.error());
    if (!history_.empty()) {
      taken->warnings.push_back("shard " + std::to_string(step_.shard.value()) + " of '" +
                                step_.collection + "' was taken again after: " + history_);
    }
    return taken;
  }

  /// One stream from `peer`. kAborted: the replica is suspect (unless `keep_suspect`).
  Result<CapturedShard> Stream(PeerId peer, bool keep_suspect) {
    const ReplicaRef replica = Ref(peer);
    HF_TRY(SpoolLease room, tools_.writer.ReserveSpool(call_, step_.predicted_bytes));
    HF_TRY(const auto image,
           tools_.writer.BeginImage(call_, {.label = ImageLabel(collection_, step_.shard, peer),
                                            .room = std::move(room),
                                            .when_full = WhenFull::kFail}));
    const auto inspector = tools_.engine.NewInspector(settings_.spool_directory);
    HF_TRY(const Look before, LookAt(peer));
    HF_RETURN_IF_ERROR(gate_.AwaitOpen(call_));
    HF_TRY(const ReplicaHealth at_request, ActiveHealth(replica));
    if (!at_request.idle() && !keep_suspect) return Suspect(peer);

    ShardPipeline pipeline(*inspector, *image);
    CountedSink sink(pipeline, tools_.progress, Lane(peer));
    CutWatch watch(tools_.clock);
    ThreadGroup streaming(call_);
    HF_RETURN_IF_ERROR(streaming.Start([&](const CallContext& inner) {
      Status streamed = tools_.engine.StreamShard(inner, replica, settings_.limits, sink, watch);
      watch.OnEnded();
      return streamed;
    }));
    HF_TRY(const bool begun, watch.AwaitFirstByte(call_));
    if (!begun) {
      HF_RETURN_IF_ERROR(streaming.Join());
      return Error(ErrorCode::kDataLoss, "the stream was empty");
    }
    HF_TRY(const ReplicaHealth at_cut, ActiveHealth(replica));
    const bool clean = at_request.idle() && at_cut.optimizations_running == 0;
    if (!clean && !keep_suspect) return Suspect(peer);
    if (clean) gate_.Settle();
    HF_TRY(const Look after, LookAt(peer));
    HF_RETURN_IF_ERROR(streaming.Join());
    HF_TRY(StoredTar tar, pipeline.Finish(call_, Note()));
    HF_TRY(CapturedShard taken, Describe(peer, tar, before, after, watch.begin()));
    taken.end = watch.end();
    if (clean) {
      HF_RETURN_IF_ERROR(CheckQuietCount(taken, before, after));
    } else {
      HF_RETURN_IF_ERROR(Bury(taken, replica, *inspector, before));
    }
    HF_RETURN_IF_ERROR(CheckActive(replica));
    sink.Keep();
    return taken;
  }

  Error Suspect(PeerId peer) {
    if (std::ranges::find(suspects_, peer) == suspects_.end()) suspects_.push_back(peer);
    return Error(ErrorCode::kAborted,
                 "its optimizer was at work, so acknowledged deletes could come back");
  }

  /// Every replica is suspect, or a stream outgrew its room.
  Result<CapturedShard> Resolve(bool want_staged) {
    if (suspects_.empty() && want_staged) return StageAny();
    const std::vector<PeerId> suspects = suspects_;
    for (const bool by_stream : {false, true}) {
      if (!by_stream && settings_.mode == ModeChoice::kStream) continue;
      // One of them may die while it stores its snapshot.
      for (const PeerId peer : suspects) {
        auto taken = by_stream ? Stream(peer, true) : StageCollection(peer);
        if (taken.ok()) return taken;
        const Failure failure = Classify(std::move(taken).error());
        Remember(peer, failure.error);
        if (failure.next == Next::kGiveUp) return failure.error;
      }
    }
    return *last_;
  }

  /// Staged, by shard when the replica is at rest and by collection when it is not.
  Result<CapturedShard> StageAny() {
    for (const PeerId peer : Ordered()) {
      auto taken = StageShard(peer);
      if (!taken.ok() && taken.error().code() == ErrorCode::kAborted) {
        taken = StageCollection(peer);
      }
      if (taken.ok()) return taken;
      const Failure failure = Classify(std::move(taken).error());
      Remember(peer, failure.error);
      if (failure.next == Next::kGiveUp) break;
    }
    return *last_;
  }

  /// A stored snapshot of this shard alone: no write-ahead log, so the replica must be at rest.
  Result<CapturedShard> StageShard(PeerId peer) {
    HF_TRY(const Look before, LookAt(peer));
    HF_RETURN_IF_ERROR(gate_.AwaitOpen(call_));
    HF_TRY(const ReplicaHealth at_request, ActiveHealth(Ref(peer)));
    if (!at_request.idle()) return Suspect(peer);
    HF_TRY(const StagedCut cut, staged_.Get(call_, peer, step_.collection, step_.shard));
    HF_TRY(const ReplicaHealth at_cut, ActiveHealth(Ref(peer)));
    if (at_cut.optimizations_running != 0) return Suspect(peer);
    gate_.Settle();
    HF_TRY(CapturedShard taken, Download(peer, cut, before));
    return taken;
  }

  /// A stored snapshot of the collection carries the write-ahead log, so no delete is lost.
  Result<CapturedShard> StageCollection(PeerId peer) {
    HF_TRY(const Look before, LookAt(peer));
    HF_RETURN_IF_ERROR(gate_.AwaitOpen(call_));
    HF_RETURN_IF_ERROR(CheckActive(Ref(peer)));
    HF_TRY(const StagedCut cut, staged_.Get(call_, peer, step_.collection, std::nullopt));
    HF_RETURN_IF_ERROR(CheckActive(Ref(peer)));
    gate_.Settle();
    HF_TRY(CapturedShard taken, Download(peer, cut, before));
    taken.image.delete_proof = DeleteProof::kCollectionSnapshot;
    return taken;
  }

  Result<CapturedShard> Download(PeerId peer, const StagedCut& cut, const Look& before) {
    HF_TRY(const Look after, LookAt(peer));
    HF_TRY(const auto image,
           tools_.writer.BeginImage(call_, {.label = ImageLabel(collection_, step_.shard, peer),
                                            .room = {},
                                            .when_full = WhenFull::kWait}));
    const auto inspector = tools_.engine.NewInspector(settings_.spool_directory);
    ShardPipeline pipeline(*inspector, *image);
    CountedSink sink(pipeline, tools_.progress, Lane(peer));
    const auto unpacked = tools_.engine.UnpackStored(
        sink, /*collection_snapshot=*/!cut.snapshot.shard.has_value(), step_.shard, peer);
    HF_RETURN_IF_ERROR(
        tools_.engine.DownloadSnapshot(call_, cut.snapshot, settings_.limits, *unpacked));
    HF_RETURN_IF_ERROR(unpacked->Finish(call_));
    HF_TRY(StoredTar tar, pipeline.Finish(call_, Note()));
    HF_TRY(CapturedShard taken, Describe(peer, tar, before, after, cut.begin));
    taken.end = cut.end;
    taken.image.mode = CaptureMode::kStaged;
    HF_RETURN_IF_ERROR(CheckActive(Ref(peer)));
    if (!taken.image.counts_known) {
      taken.warnings.push_back(
          holdfast::Describe(Ref(peer)) +
          " was written to while it was taken from a stored snapshot with a log: how many points "
          "it holds is known to a restore only");
    }
    sink.Keep();
    return taken;
  }

  std::string Note() const {
    return json::Dump({{"collection", step_.collection}, {"shard", step_.shard.value()}});
  }

  /// What the group remembers of the shard. Counts: the image's own when its ids are known, else
  /// what was counted around the cut.
  Result<CapturedShard> Describe(PeerId peer, const StoredTar& tar, const Look& before,
                                 const Look& after, MonotonicTime begin) {
    CapturedShard taken;
    taken.begin = begin;
    ShardImage& image = taken.image;
    image.shard = step_.shard;
    image.key = step_.key;
    image.peer = peer;
    image.image = tar.image.key;
    image.tar_bytes = tar.image.bytes;
    image.tar_sha256 = ToHex(tar.image.sha256);
    image.layout_json = tar.facts.layout_json;
    image.image_points = tar.facts.live_points;
    const auto [low, high] = std::minmax(before.counts.all, after.counts.all);
    const auto [ring_low, ring_high] = std::minmax(before.counts.in_ring, after.counts.in_ring);
    // A snapshot that another shard had asked for may be older than both looks.
    const bool around = before.at <= begin && Quiet(before, after);
    if (around) taken.quiet_since = before.at;
    image.counts_known = tar.facts.live_points.has_value() || around;
    image.points_min = tar.facts.live_points.value_or(low);
    image.points_max = tar.facts.live_points.value_or(high);
    // Points that do not belong to this shard stay the same few while others come and go.
    const std::uint64_t strays =
        std::max(before.counts.all - std::min(before.counts.in_ring, before.counts.all),
                 after.counts.all - std::min(after.counts.in_ring, after.counts.all));
    image.ring_points_min =
        strays == 0 ? image.points_min
                    : std::min(ring_low, image.points_min - std::min(strays, image.points_min));
    image.ring_points_max = strays == 0 ? image.points_max : std::max(ring_high, image.points_max);
    return taken;
  }

  /// Nothing wrote between the two looks.
  static bool Quiet(const Look& before, const Look& after) {
    return before.health.update_op_num && before.health.update_op_num == after.health.update_op_num;
  }

  /// While nothing wrote, an image of a replica at rest holds what the replica counts. Fewer is a
  /// damaged image whatever the tar says.
  Status CheckQuietCount(const CapturedShard& taken, const Look& before, const Look& after) {
    if (!Quiet(before, after) || !taken.image.image_points) return {};
    // A write may come between the last operation number and the last count.
    const std::uint64_t counted = std::min(before.counts.all, after.counts.all);
    if (*taken.image.image_points >= counted) return {};
    return Error(ErrorCode::kDataLoss, "the image holds " + FormatCount(*taken.image.image_points) +
                                           " points, the replica counts " + FormatCount(counted));
  }

  /// Writes down which ids of a suspect image are deleted on the live replica.
  Status Bury(CapturedShard& taken, const ReplicaRef& replica, ImageInspector& inspector,
              const Look& before) {
    if (!taken.image.image_points) {
      return Error(ErrorCode::kFailedPrecondition,
                   "its optimizer was at work and the ids of its image cannot be read",
                   "wait until the optimizer has finished, or raise --settle");
    }
    BytesSink ids(kTombstoneBytesMax);
    HF_TRY(const std::uint64_t found,
           FindTombstones(call_, tools_.engine, replica, inspector, ids));
    HF_TRY(const ReplicaHealth now, tools_.engine.ReadHealth(call_, replica));
    if (!now.update_op_num || now.update_op_num != before.health.update_op_num) {
      return Error(ErrorCode::kFailedPrecondition,
                   "its optimizer was at work while clients wrote, so lost deletes cannot be told",
                   "wait until the optimizer has finished, raise --settle, fence the writers, or "
                   "leave --mode at auto");
    }
    gate_.Settle();
    taken.image.delete_proof = DeleteProof::kTombstones;
    if (found == 0) return {};
    BytesSource content(ids.bytes());
    HF_TRY(const ImageRef file,
           tools_.writer.PutFile(call_, "tombstones/" + taken.image.image, content));
    taken.image.tombstones = found;
    taken.image.tombstones_file = file.key;
    taken.image.points_min = taken.image.points_max = *taken.image.image_points - found;
    taken.image.ring_points_max = std::min(taken.image.ring_points_max, taken.image.points_max);
    taken.image.ring_points_min = std::min(taken.image.ring_points_min, taken.image.points_min);
    return {};
  }

  /// On both sides of the cut and at the end: a replica that is not Active misses writes, and may
  /// be recovered before anybody looks again.
  Result<ReplicaHealth> ActiveHealth(const ReplicaRef& replica) {
    HF_TRY(const ReplicaHealth health, tools_.engine.ReadHealth(call_, replica));
    if (health.state == ReplicaState::kActive) return health;
    return Error(ErrorCode::kUnavailable, "the replica became " +
                                              std::string(ReplicaStateName(health.state)) +
                                              " while it was taken");
  }
  Status CheckActive(const ReplicaRef& replica) {
    const auto health = ActiveHealth(replica);
    return health.ok() ? Status() : Status(health.error());
  }

  const CallContext& call_;
  const CaptureTools& tools_;
  const CaptureSettings& settings_;
  const Collection& collection_;
  const CaptureStep& step_;
  StagedSnapshots& staged_;
  GatePass& gate_;
  std::vector<PeerId> suspects_;
  std::optional<Error> last_;
  std::string history_;
};

}  // namespace

std::string ImageLabel(const Collection& collection, ShardId shard, PeerId peer) {
  const std::string whose = collection.uuid.empty() ? "name:" + collection.name : collection.uuid;
  return whose + "/" + std::to_string(shard.value()) + "/" + std::to_string(peer.value());
}

bool ParseImageLabel(std::string_view label, ParentKey& key, PeerId& peer) {
  const std::size_t last = label.rfind('/');
  if (last == std::string_view::npos || last == 0) return false;
  const std::size_t middle = label.rfind('/', last - 1);
  if (middle == std::string_view::npos) return false;
  std::uint32_t shard = 0;
  std::uint64_t peer_id = 0;
  const std::string_view shard_text = label.substr(middle + 1, last - middle - 1);
  const std::string_view peer_text = label.substr(last + 1);
  const auto whole = [](std::string_view text, auto& value) {
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    return code == std::errc() && end == text.data() + text.size() && !text.empty();
  };
  if (!whole(shard_text, shard) || !whole(peer_text, peer_id)) return false;
  key = {std::string(label.substr(0, middle)), ShardId(shard)};
  peer = PeerId(peer_id);
  return true;
}

Result<CapturedShard> CaptureShard(const CallContext& call, const CaptureTools& tools,
                                   const CaptureSettings& settings, const Collection& collection,
                                   const CaptureStep& step, StagedSnapshots& staged,
                                   GatePass& gate) {
  return ShardCapture(call, tools, settings, collection, step, staged, gate).Run();
}

}  // namespace holdfast
