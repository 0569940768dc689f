#include "engine/qdrant/shard_source.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/qdrant/at_once.h"
#include "stream/digest.h"

namespace holdfast::qdrant {
namespace {

using json::Json;

// Snapshots are named by the second (reference 3.1): two of one second would be one file.
constexpr Duration kNameStep = std::chrono::milliseconds(1100);
// How long a node may work on something that it answers only at the end, per look at it.
constexpr Duration kWorkSilence = std::chrono::seconds(60);

Url StoreUrl(const Url& url, const std::string& collection, std::optional<ShardId> shard) {
  const Url base = url / "collections" / collection;
  return shard ? base / "shards" / std::to_string(shard->value()) / "snapshots"
               : base / "snapshots";
}

Result<StoredSnapshot> DescriptionFrom(const Json& item, PeerId peer, const std::string& collection,
                                       std::optional<ShardId> shard) {
  json::Reader in(item, "a snapshot's description");
  StoredSnapshot snapshot;
  snapshot.peer = peer;
  snapshot.collection = collection;
  snapshot.shard = shard;
  snapshot.name = in.Text("name");
  snapshot.bytes = in.Number("size");
  snapshot.sha256 = in.Has("checksum") ? in.Text("checksum") : "";
  if (const Status status = in.status(); !status.ok()) {
    return Error(ErrorCode::kUnavailable, "unexpected answer: " + status.error().message());
  }
  // UTC without a zone (reference 3.1).
  if (in.Has("creation_time")) {
    const Result<WallTime> made = ParseTime(in.TextOr("creation_time", "") + "Z");
    if (made.ok()) snapshot.created_at = *made;
  }
  return snapshot;
}

// Instants of a stream go to the observer; silence is asked about.
class StreamWatch final : public HttpObserver {
 public:
  using AskQueue = std::function<std::optional<std::uint64_t>()>;
  StreamWatch(CaptureObserver* observer, AskQueue ask_queue)
      : observer_(observer), ask_queue_(std::move(ask_queue)) {}

  void OnRequest(MonotonicTime at) override {
    if (observer_ != nullptr) observer_->OnRequest(at);
  }
  void OnHeaders(MonotonicTime at, const HttpResponse& answer) override {
    if (observer_ != nullptr && answer.ok()) observer_->OnHeaders(at);
  }
  void OnFirstByte(MonotonicTime at) override {
    begun_ = true;
    if (observer_ != nullptr) observer_->OnFirstByte(at);
  }
  /// Bytes start only when the update queue has drained (reference 3.2): as long as it falls, more
  /// time is worth it. Afterwards silence is silence.
  bool OnSilence(Duration) override {
    if (begun_ || !ask_queue_) return false;
    const std::optional<std::uint64_t> length = ask_queue_();
    const bool falls = length && (!queue_ || *length < *queue_) && *length > 0;
    queue_ = length;
    return falls;
  }

 private:
  CaptureObserver* const observer_;
  const AskQueue ask_queue_;
  std::optional<std::uint64_t> queue_;
  bool begun_ = false;
};

// Waits for a node that works on a snapshot as long as it says that it does.
class WorkWatch final : public HttpObserver {
 public:
  using AskWorking = std::function<bool()>;
  WorkWatch(CaptureObserver* observer, AskWorking ask_working)
      : observer_(observer), ask_working_(std::move(ask_working)) {}

  void OnRequest(MonotonicTime at) override {
    if (observer_ != nullptr) observer_->OnRequest(at);
  }
  bool OnSilence(Duration) override { return ask_working_(); }

 private:
  CaptureObserver* const observer_;
  const AskWorking ask_working_;
};

}  // namespace

Status QdrantShardSource::StreamShard(const CallContext& call, const ReplicaRef& replica,
                                      const StreamLimits& limits, ByteSink& sink,
                                      CaptureObserver& observer) {
  HF_TRY(const Url url, directory_.ProvenUrlOf(call, replica.peer));
  HttpRequest request = api_.Request(HttpMethod::kGet,
                                     url / "collections" / replica.collection / "shards" /
                                         std::to_string(replica.shard.value()) / "snapshot",
                                     Right::kCapture);
  // Its cut is one instant: it must not be sent twice behind our back.
  request.idempotent = false;
  request.timeouts.first_byte = limits.first_byte;
  request.timeouts.between_bytes = limits.between_bytes;
  StreamWatch watch(&observer, [&]() -> std::optional<std::uint64_t> {
    const auto node = reader_.ReadNode(call, replica.peer, url);
    if (!node.ok()) return std::nullopt;
    const auto shard = (*node)->shards.find({replica.collection, replica.shard});
    if (shard == (*node)->shards.end()) return std::nullopt;
    return shard->second.update_queue_length;
  });
  Result<HttpResponse> answer = api_.http().Download(call, request, sink, &watch);
  if (!answer.ok()) {
    // Nothing takes effect on the node, so it may simply be taken again.
    const bool ours = !api_.clock().Check(call).ok();
    Error error = std::move(answer).error().While(Describe(replica));
    if (error.code() == ErrorCode::kDeadlineExceeded && !ours) {
      return std::move(error).As(ErrorCode::kUnavailable);
    }
    return error;
  }
  if (answer->ok()) return {};
  return ErrorOfAnswer(request, *answer, Effect::kRead).While(Describe(replica));
}

Status QdrantShardSource::WaitForNextSecond(const CallContext& call, const Place& place) {
  const MonotonicTime now = api_.clock().Monotonic();
  Duration wait{};
  {
    const std::scoped_lock lock(mutex_);
    std::erase_if(made_, [&](const auto& entry) { return entry.second + kNameStep <= now; });
    const auto last = made_.find(place);
    const MonotonicTime next = last == made_.end() ? now : last->second + kNameStep;
    wait = next - now;
    made_[place] = next;
  }
  if (wait <= Duration(0)) return {};
  return api_.clock().SleepFor(call, wait);
}

Result<StoredSnapshot> QdrantShardSource::CreateSnapshot(const CallContext& call, PeerId peer,
                                                         const std::string& collection,
                                                         std::optional<ShardId> shard,
                                                         CaptureObserver& observer) {
  HF_TRY(const Url url, directory_.ProvenUrlOf(call, peer));
  HF_RETURN_IF_ERROR(WaitForNextSecond(call, {peer, collection, shard}));
  HttpRequest request = api_.Request(
      HttpMethod::kPost, StoreUrl(url, collection, shard).With("wait", "true"), Right::kCapture);
  request.idempotent = false;
  request.timeouts.first_byte = kWorkSilence;
  WorkWatch watch(&observer, [&] {
    const auto node = reader_.ReadNode(call, peer, url);
    if (!node.ok()) return false;
    const auto found = (*node)->snapshots.find(collection);
    return found != (*node)->snapshots.end() && found->second.creating > 0;
  });
  HF_TRY(const HttpResponse answer, api_.http().Send(call, request, &watch));
  const MonotonicTime answered = api_.clock().Monotonic();
  HF_TRY(const Json result, ResultOfAnswer(request, answer, Effect::kChange));
  observer.OnHeaders(answered);
  observer.OnFirstByte(answered);
  return DescriptionFrom(result, peer, collection, shard);
}

Status QdrantShardSource::DownloadSnapshot(const CallContext& call, const StoredSnapshot& snapshot,
                                           const StreamLimits& limits, ByteSink& sink) {
  HF_TRY(const Url url, directory_.UrlOf(call, snapshot.peer));
  HttpRequest request = api_.Request(
      HttpMethod::kGet, StoreUrl(url, snapshot.collection, snapshot.shard) / snapshot.name,
      Right::kCapture);
  request.idempotent = false;
  request.timeouts.first_byte = limits.first_byte;
  request.timeouts.between_bytes = limits.between_bytes;
  Sha256 digest;
  std::uint64_t bytes = 0;
  FunctionSink counted([&](const CallContext& inner, ByteView piece) -> Status {
    digest.Update(piece);
    bytes += piece.size();
    return sink.Write(inner, piece);
  });
  const std::string doing = "download snapshot '" + snapshot.name + "'";
  Result<HttpResponse> answer = api_.http().Download(call, request, counted);
  if (!answer.ok()) {
    const bool ours = !api_.clock().Check(call).ok();
    Error error = std::move(answer).error().While(doing);
    if (error.code() == ErrorCode::kDeadlineExceeded && !ours) {
      return std::move(error).As(ErrorCode::kUnavailable);
    }
    return error;
  }
  if (!answer->ok()) return ErrorOfAnswer(request, *answer, Effect::kRead).While(doing);
  if (bytes != snapshot.bytes) {
    return Error(ErrorCode::kDataLoss, doing + ": got " + std::to_string(bytes) + " bytes of " +
                                           std::to_string(snapshot.bytes));
  }
  if (!snapshot.sha256.empty() && ToHex(digest.Finish()) != snapshot.sha256) {
    return Error(ErrorCode::kDataLoss, doing + ": its SHA-256 is not the one the node told");
  }
  return {};
}

Status QdrantShardSource::DeleteSnapshot(const CallContext& call, const StoredSnapshot& snapshot) {
  HF_TRY(const Url url, directory_.UrlOf(call, snapshot.peer));
  const Url file = StoreUrl(url, snapshot.collection, snapshot.shard) / snapshot.name;
  const Result<Json> deleted =
      api_.Change(call, HttpMethod::kDelete, file.With("wait", "true"), Json(), Right::kCapture);
  // Gone is gone, with its collection too.
  if (deleted.ok() || deleted.error().code() == ErrorCode::kNotFound) return {};
  return deleted.error().While("delete snapshot '" + snapshot.name + "'");
}

Result<std::vector<StoredSnapshot>> QdrantShardSource::ListSnapshots(
    const CallContext& call, PeerId peer, const std::string& collection) {
  HF_TRY(const Url url, directory_.UrlOf(call, peer));
  HF_TRY(const Json cluster, api_.Get(call, url / "collections" / collection / "cluster"));
  HF_TRY(const PeerCollectionView view, ReadPeerCollectionView(cluster));
  // Only local shards can be asked for; what a replica left behind when it went, the server does
  // not tell (run on 1.18.3: 400).
  std::vector<std::optional<ShardId>> stores = {std::nullopt};
  for (const ShardView& shard : view.view.shards) {
    const bool local = std::ranges::any_of(shard.replicas, &ReplicaView::is_local);
    if (local) stores.emplace_back(shard.id);
  }
  std::vector<std::vector<StoredSnapshot>> lists(stores.size());
  HF_RETURN_IF_ERROR(
      ForEach(call, stores.size(), [&](const CallContext& inner, std::size_t i) -> Status {
        const Result<Json> list =
            api_.Get(inner, StoreUrl(url, collection, stores[i]), Right::kRead);
        // The replica, or its shard key, was dropped meanwhile.
        if (!list.ok() && list.error().code() == ErrorCode::kNotFound && stores[i]) return {};
        if (!list.ok()) return list.error();
        if (!list->is_array()) return {};
        for (const Json& item : *list) {
          HF_TRY(StoredSnapshot snapshot, DescriptionFrom(item, peer, collection, stores[i]));
          lists[i].push_back(std::move(snapshot));
        }
        return {};
      }));
  std::vector<StoredSnapshot> all;
  for (std::vector<StoredSnapshot>& list : lists) {
    std::move(list.begin(), list.end(), std::back_inserter(all));
  }
  return all;
}

}  // namespace holdfast::qdrant
