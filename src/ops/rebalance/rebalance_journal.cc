#include "ops/rebalance/rebalance_journal.h"

#include <utility>

#include "model/json.h"

namespace holdfast {
namespace {

using json::Json;
using json::Reader;

}  // namespace

std::string RebalanceJournalToJson(const RebalanceJournal& journal) {
  Json own = Json::array();
  for (const OwnTransfer& one : journal.own) {
    own.push_back({{"collection", one.transfer.collection},
                   {"shard", one.transfer.shard.value()},
                   {"from", one.transfer.from.value()},
                   {"to", one.transfer.to.value()},
                   {"replicate", one.kind == TransferKind::kReplicate},
                   {"bytes", one.bytes}});
  }
  return json::Dump({{"own", std::move(own)},
                     {"moved", journal.moved},
                     {"replicated", journal.replicated},
                     {"dropped", journal.dropped},
                     {"bytes", journal.bytes}});
}

Result<RebalanceJournal> RebalanceJournalFromJson(std::string_view text) {
  RebalanceJournal journal;
  if (text.empty()) return journal;
  HF_TRY(const Json document, json::Parse(text, "the journal of a rebalance"));
  Reader in(document, "the journal of a rebalance");
  journal.moved = in.Number("moved");
  journal.replicated = in.Number("replicated");
  journal.dropped = in.Number("dropped");
  journal.bytes = in.Number("bytes");
  for (const Json& item : in.Array("own")) {
    Reader one(item, "a transfer of a rebalance");
    OwnTransfer own{.transfer = {.collection = one.Text("collection"),
                                 .shard = ShardId(one.Number32("shard")),
                                 .from = PeerId(one.Number("from")),
                                 .to = PeerId(one.Number("to"))},
                    .kind = one.Flag("replicate") ? TransferKind::kReplicate : TransferKind::kMove,
                    .bytes = one.Number("bytes")};
    HF_RETURN_IF_ERROR(one.status());
    journal.own.push_back(std::move(own));
  }
  HF_RETURN_IF_ERROR(in.status());
  return journal;
}

std::string RebalanceAskedToJson(const RebalanceAsked& asked) {
  Json without = Json::array();
  for (const PeerId peer : asked.request.without) without.push_back(peer.value());
  Json wanted = Json::object();
  for (const auto& [name, shards] : asked.request.wanted) {
    Json& list = wanted[name] = Json::array();
    for (const ShardPlacement& placement : shards) {
      Json peers = Json::array();
      for (const PeerId peer : placement.peers) peers.push_back(peer.value());
      list.push_back({{"shard", placement.shard.value()}, {"peers", std::move(peers)}});
    }
  }
  return json::Dump({{"collections", asked.request.collections},
                     {"wanted", {{"collections", std::move(wanted)}}},
                     {"without", std::move(without)},
                     {"receives_at_once", asked.request.receives_at_once},
                     {"transfers_at_once", asked.transfers_at_once},
                     {"bytes_per_second", asked.bytes_per_second}});
}

Result<RebalanceAsked> RebalanceAskedFromJson(std::string_view text) {
  constexpr const char* kWhat = "the request of a rebalance";
  HF_TRY(const Json document, json::Parse(text, kWhat));
  Reader in(document, kWhat);
  RebalanceAsked asked;
  for (const Json& name : in.Array("collections")) {
    if (!name.is_string()) return Error(ErrorCode::kDataLoss, "a collection's name is no text");
    asked.request.collections.push_back(name.get<std::string>());
  }
  for (const Json& peer : in.Array("without")) {
    if (!peer.is_number_unsigned()) return Error(ErrorCode::kDataLoss, "a peer id is no number");
    asked.request.without.push_back(PeerId(peer.get<std::uint64_t>()));
  }
  asked.request.receives_at_once = in.Number32("receives_at_once");
  asked.transfers_at_once = in.Number32("transfers_at_once");
  asked.bytes_per_second = in.Number("bytes_per_second");
  const Json& wanted = in.At("wanted");
  HF_RETURN_IF_ERROR(in.status());
  auto layout = WantedLayoutFromJson(json::Dump(wanted));
  if (!layout.ok()) return std::move(layout).error().As(ErrorCode::kDataLoss);
  asked.request.wanted = *std::move(layout);
  return asked;
}

}  // namespace holdfast
