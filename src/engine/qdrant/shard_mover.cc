#include "engine/qdrant/shard_mover.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

#include "engine/qdrant/documents.h"

namespace holdfast::qdrant {
namespace {

using json::Json;

constexpr const char* kMethod = "stream_records";

Url ClusterUrl(const Url& url, const std::string& name) {
  return CollectionUrl(url, name) / "cluster";
}

Json PeersOf(const TransferRef& transfer) {
  return {{"shard_id", transfer.shard.value()},
          {"from_peer_id", transfer.from.value()},
          {"to_peer_id", transfer.to.value()}};
}

/// Takes a number off the front of `text`.
bool TakeNumber(std::string_view& text, std::uint64_t& number) {
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc()) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

}  // namespace

TransferProgress ReadTransferComment(std::string_view comment) {
  constexpr std::string_view kRecords = "records (";
  const std::size_t at = comment.find(kRecords);
  if (at == std::string_view::npos) return {};
  std::string_view rest = comment.substr(at + kRecords.size());
  TransferProgress progress;
  if (!TakeNumber(rest, progress.points_done) || !rest.starts_with('/')) return {};
  rest.remove_prefix(1);
  if (!TakeNumber(rest, progress.points_total) || !rest.starts_with(')')) return {};
  progress.points_done = std::min(progress.points_done, progress.points_total);
  return progress;
}

Status QdrantShardMover::StartTransfer(const CallContext& call, const TransferRef& transfer,
                                       TransferKind kind) {
  const bool move = kind == TransferKind::kMove;
  const std::string doing = (move ? "move " : "replicate ") + holdfast::Describe(transfer);
  HF_TRY(const Url url, directory_.LeaderUrl(call));
  // The server does not look at this itself: an Active replica would be emptied and filled again
  // (C/shards/transfer/helpers.rs, validate_transfer).
  const Result<Json> now = api_.Get(call, ClusterUrl(url, transfer.collection), Right::kManage);
  if (!now.ok()) return Error(now.error()).While(doing);
  HF_TRY(const PeerCollectionView seen, ReadPeerCollectionView(*now));
  const auto shard = std::ranges::find(seen.view.shards, transfer.shard, &ShardView::id);
  if (shard != seen.view.shards.end() &&
      std::ranges::find(shard->replicas, transfer.to, &ReplicaView::peer) !=
          shard->replicas.end()) {
    return Error(
        ErrorCode::kFailedPrecondition,
        doing + ": peer " + std::to_string(transfer.to.value()) + " has a replica of it already");
  }
  Json body = PeersOf(transfer);
  body["method"] = kMethod;
  const Result<Json> started = api_.Change(
      call, HttpMethod::kPost, api_.WithTimeout(call, ClusterUrl(url, transfer.collection)),
      Json{{move ? "move_shard" : "replicate_shard", std::move(body)}});
  if (!started.ok()) return OfState(started.error()).While(doing);
  return {};
}

Status QdrantShardMover::AbortTransfer(const CallContext& call, const TransferRef& transfer) {
  const std::string doing = "abort the transfer of " + holdfast::Describe(transfer);
  HF_TRY(const Url url, directory_.LeaderUrl(call));
  const Result<Json> aborted = api_.Change(
      call, HttpMethod::kPost, api_.WithTimeout(call, ClusterUrl(url, transfer.collection)),
      Json{{"abort_transfer", PeersOf(transfer)}});
  if (aborted.ok() || aborted.error().code() == ErrorCode::kNotFound) return {};
  // It may have ended between the server's look at it and the cluster's agreement.
  const Result<Json> now = api_.Get(call, ClusterUrl(url, transfer.collection), Right::kManage);
  if (now.ok()) {
    HF_TRY(const PeerCollectionView seen, ReadPeerCollectionView(*now));
    if (std::ranges::none_of(seen.view.transfers, [&](const ShardTransfer& listed) {
          return IsTransfer(listed, transfer);
        })) {
      return {};
    }
  }
  return OfState(aborted.error()).While(doing);
}

}  // namespace holdfast::qdrant
