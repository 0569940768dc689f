#include "model/group.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "model/json.h"
#include "model/topology_json.h"

namespace holdfast {
namespace {

using json::Json;
using json::Reader;

template <class Enum, std::size_t N>
using Names = std::array<std::pair<Enum, std::string_view>, N>;

constexpr Names<Consistency, 3> kConsistencies{{
    {Consistency::kFenced, "fenced"},
    {Consistency::kWindow, "window"},
    {Consistency::kBestEffort, "best-effort"},
}};
constexpr Names<CaptureMode, 2> kModes{{
    {CaptureMode::kStream, "stream"},
    {CaptureMode::kStaged, "staged"},
}};
constexpr Names<DeleteProof, 3> kProofs{{
    {DeleteProof::kIdle, "idle"},
    {DeleteProof::kCollectionSnapshot, "collection-snapshot"},
    {DeleteProof::kTombstones, "tombstones"},
}};

template <class Enum, std::size_t N>
std::string_view NameOf(const Names<Enum, N>& names, Enum value) {
  for (const auto& [entry, name] : names) {
    if (entry == value) return name;
  }
  return "unknown";
}

template <class Enum, std::size_t N>
Enum ValueOf(const Names<Enum, N>& names, Reader& in, const char* member) {
  const std::string text = in.Text(member);
  for (const auto& [value, name] : names) {
    if (name == text) return value;
  }
  in.Fail(member, "known value of");
  return names.front().first;
}

Json ImageJson(const ShardImage& image) {
  Json out = {{"shard", image.shard.value()},
              {"peer", image.peer.value()},
              {"mode", CaptureModeName(image.mode)},
              {"delete_proof", DeleteProofName(image.delete_proof)},
              {"image", image.image},
              {"tar_bytes", image.tar_bytes},
              {"tar_sha256", image.tar_sha256},
              {"points_min", image.points_min},
              {"points_max", image.points_max},
              {"ring_points_min", image.ring_points_min},
              {"ring_points_max", image.ring_points_max},
              {"tombstones", image.tombstones},
              {"tombstones_file", image.tombstones_file},
              {"cut_begin_us", image.cut_begin_us},
              {"cut_end_us", image.cut_end_us},
              {"layout", image.layout_json}};
  if (image.key) out["key"] = ShardKeyJson(*image.key);
  if (image.image_points) out["image_points"] = *image.image_points;
  if (!image.counts_known) out["counts_known"] = false;
  return out;
}

Result<ShardImage> ImageFrom(const Json& document) {
  Reader in(document, "a shard image");
  ShardImage image;
  image.shard = ShardId(in.Number32("shard"));
  if (in.Has("key")) {
    HF_TRY(image.key, ShardKeyFrom(in.At("key")));
  }
  image.peer = PeerId(in.Number("peer"));
  image.mode = ValueOf(kModes, in, "mode");
  image.delete_proof = ValueOf(kProofs, in, "delete_proof");
  image.image = in.Text("image");
  image.tar_bytes = in.Number("tar_bytes");
  image.tar_sha256 = in.Text("tar_sha256");
  image.points_min = in.Number("points_min");
  image.points_max = in.Number("points_max");
  image.ring_points_min = in.Number("ring_points_min");
  image.ring_points_max = in.Number("ring_points_max");
  if (in.Has("image_points")) image.image_points = in.Number("image_points");
  if (in.Has("counts_known")) image.counts_known = in.Flag("counts_known");
  image.tombstones = in.Number("tombstones");
  image.tombstones_file = in.Text("tombstones_file");
  image.cut_begin_us = in.Signed("cut_begin_us");
  image.cut_end_us = in.Signed("cut_end_us");
  image.layout_json = in.Text("layout");
  HF_RETURN_IF_ERROR(in.status());
  return image;
}

Json QueryJson(const GoldenQuery& query) {
  return {{"request", query.request_json}, {"ids", query.ids}, {"scores", query.scores}};
}

Result<GoldenQuery> QueryFrom(const Json& document) {
  Reader in(document, "a golden query");
  GoldenQuery query{.request_json = in.Text("request"), .ids = {}, .scores = {}};
  for (const Json& id : in.Array("ids")) {
    if (!id.is_string()) return Error(ErrorCode::kDataLoss, "a golden query has a bad id");
    query.ids.push_back(id.get<std::string>());
  }
  for (const Json& score : in.Array("scores")) {
    if (!score.is_number()) return Error(ErrorCode::kDataLoss, "a golden query has a bad score");
    query.scores.push_back(score.get<double>());
  }
  HF_RETURN_IF_ERROR(in.status());
  if (query.ids.size() != query.scores.size()) {
    return Error(ErrorCode::kDataLoss, "a golden query has other numbers of ids and scores");
  }
  return query;
}

Json SampleJson(const SampledPoint& sample) {
  Json out = {{"id", sample.id_json}, {"point", sample.point_json}};
  if (sample.key) out["key"] = ShardKeyJson(*sample.key);
  return out;
}

Result<SampledPoint> SampleFrom(const Json& document) {
  Reader in(document, "a sampled point");
  SampledPoint sample{
      .id_json = in.Text("id"), .point_json = in.Text("point"), .key = std::nullopt};
  if (in.Has("key")) {
    HF_TRY(sample.key, ShardKeyFrom(in.At("key")));
  }
  HF_RETURN_IF_ERROR(in.status());
  return sample;
}

Json SummaryJson(const CollectionSummary& summary) {
  return {{"name", summary.name},      {"uuid", summary.uuid},     {"record", summary.record},
          {"shards", summary.shards},  {"points", summary.points}, {"tar_bytes", summary.tar_bytes},
          {"aliases", summary.aliases}};
}

Result<CollectionSummary> SummaryFrom(const Json& document) {
  Reader in(document, "a collection summary");
  CollectionSummary summary{.name = in.Text("name"),
                            .uuid = in.Text("uuid"),
                            .record = in.Number32("record"),
                            .shards = in.Number32("shards"),
                            .points = in.Number("points"),
                            .tar_bytes = in.Number("tar_bytes"),
                            .aliases = {}};
  for (const Json& alias : in.Array("aliases")) {
    if (!alias.is_string()) return Error(ErrorCode::kDataLoss, "an alias is not a text");
    summary.aliases.push_back(alias.get<std::string>());
  }
  HF_RETURN_IF_ERROR(in.status());
  return summary;
}

Status ReadManifestLists(Reader& in, GroupManifest& manifest) {
  for (const Json& item : in.Array("collections")) {
    HF_TRY(CollectionSummary summary, SummaryFrom(item));
    manifest.collections.push_back(std::move(summary));
  }
  for (const Json& item : in.Array("skipped")) {
    Reader skipped(item, "a skipped collection");
    manifest.skipped.push_back({.name = skipped.Text("name"), .reason = skipped.Text("reason")});
    HF_RETURN_IF_ERROR(skipped.status());
  }
  for (const Json& item : in.Array("attachments")) {
    Reader attachment(item, "an attachment");
    manifest.attachments.push_back({.name = attachment.Text("name"),
                                    .file = attachment.Text("file"),
                                    .bytes = attachment.Number("bytes"),
                                    .sha256 = attachment.Text("sha256")});
    HF_RETURN_IF_ERROR(attachment.status());
  }
  for (const Json& item : in.Array("warnings")) {
    if (!item.is_string()) return Error(ErrorCode::kDataLoss, "a warning is not a text");
    manifest.warnings.push_back(item.get<std::string>());
  }
  HF_TRY(manifest.topology, TopologyFrom(in.At("topology")));
  return {};
}

}  // namespace

std::string_view ConsistencyName(Consistency value) noexcept {
  return NameOf(kConsistencies, value);
}
std::string_view CaptureModeName(CaptureMode value) noexcept { return NameOf(kModes, value); }
std::string_view DeleteProofName(DeleteProof value) noexcept { return NameOf(kProofs, value); }

std::string RecordToJson(const CollectionRecord& record) {
  Json out = {{"collection", CollectionJson(record.collection)},
              {"layout", record.layout_json},
              {"shards", Json::array()},
              {"samples", Json::array()},
              {"queries", Json::array()}};
  for (const ShardImage& image : record.shards) out["shards"].push_back(ImageJson(image));
  for (const SampledPoint& sample : record.samples) out["samples"].push_back(SampleJson(sample));
  for (const GoldenQuery& query : record.queries) out["queries"].push_back(QueryJson(query));
  if (!record.witnesses_proven) out["witnesses_proven"] = false;
  return json::Dump(out);
}

Result<CollectionRecord> RecordFromJson(std::string_view text) {
  HF_TRY(const Json document, json::Parse(text, "a collection record"));
  Reader in(document, "a collection record");
  CollectionRecord record;
  HF_TRY(record.collection, CollectionFrom(in.At("collection")));
  record.layout_json = in.Text("layout");
  if (in.Has("witnesses_proven")) record.witnesses_proven = in.Flag("witnesses_proven");
  for (const Json& item : in.Array("shards")) {
    HF_TRY(ShardImage image, ImageFrom(item));
    record.shards.push_back(std::move(image));
  }
  for (const Json& item : in.Array("samples")) {
    HF_TRY(SampledPoint sample, SampleFrom(item));
    record.samples.push_back(std::move(sample));
  }
  for (const Json& item : in.Array("queries")) {
    HF_TRY(GoldenQuery query, QueryFrom(item));
    record.queries.push_back(std::move(query));
  }
  HF_RETURN_IF_ERROR(in.status());
  return record;
}

std::string ManifestToJson(const GroupManifest& manifest) {
  Json out = {{"id", manifest.id.value()},
              {"cluster", manifest.cluster},
              {"engine", manifest.engine},
              {"holdfast_version", manifest.holdfast_version},
              {"begun_at", FormatTime(manifest.begun_at)},
              {"cut_at", FormatTime(manifest.cut_at)},
              {"finished_at", FormatTime(manifest.finished_at)},
              {"skew_us", manifest.skew_us},
              {"consistency", ConsistencyName(manifest.consistency)},
              {"waves", manifest.waves},
              {"points", manifest.points},
              {"bytes_read", manifest.bytes_read},
              {"bytes_new", manifest.bytes_new},
              {"bytes_stored", manifest.bytes_stored},
              {"warnings", manifest.warnings},
              {"topology", TopologyJson(manifest.topology)},
              {"collections", Json::array()},
              {"skipped", Json::array()},
              {"attachments", Json::array()}};
  if (!manifest.purpose.empty()) out["purpose"] = manifest.purpose;
  for (const CollectionSummary& summary : manifest.collections) {
    out["collections"].push_back(SummaryJson(summary));
  }
  for (const SkippedCollection& skipped : manifest.skipped) {
    out["skipped"].push_back({{"name", skipped.name}, {"reason", skipped.reason}});
  }
  for (const Attachment& attachment : manifest.attachments) {
    out["attachments"].push_back({{"name", attachment.name},
                                  {"file", attachment.file},
                                  {"bytes", attachment.bytes},
                                  {"sha256", attachment.sha256}});
  }
  return json::Dump(out);
}

Result<GroupManifest> ManifestFromJson(std::string_view text) {
  HF_TRY(const Json document, json::Parse(text, "the manifest"));
  Reader in(document, "the manifest");
  GroupManifest manifest;
  manifest.id = GroupId(in.Text("id"));
  manifest.cluster = in.Text("cluster");
  manifest.engine = in.Text("engine");
  manifest.holdfast_version = in.Text("holdfast_version");
  manifest.purpose = in.TextOr("purpose", "");
  const std::string begun_at = in.Text("begun_at");
  const std::string cut_at = in.Text("cut_at");
  const std::string finished_at = in.Text("finished_at");
  manifest.skew_us = in.Signed("skew_us");
  manifest.consistency = ValueOf(kConsistencies, in, "consistency");
  manifest.waves = in.Number32("waves");
  manifest.points = in.Number("points");
  manifest.bytes_read = in.Number("bytes_read");
  manifest.bytes_new = in.Number("bytes_new");
  manifest.bytes_stored = in.Number("bytes_stored");
  HF_RETURN_IF_ERROR(ReadManifestLists(in, manifest));
  HF_RETURN_IF_ERROR(in.status());
  HF_TRY(manifest.begun_at, ParseTime(begun_at));
  HF_TRY(manifest.cut_at, ParseTime(cut_at));
  HF_TRY(manifest.finished_at, ParseTime(finished_at));
  return manifest;
}

GroupId MakeGroupId(WallTime begun_at, std::uint64_t random) {
  std::string id = FormatTime(begun_at);  // 2026-11-22T03:24:38.123Z
  id = id.substr(0, 4) + id.substr(5, 2) + id.substr(8, 5) + id.substr(14, 2) + id.substr(17, 2);
  std::array<char, 20> tail{};
  std::snprintf(tail.data(), tail.size(), "Z-%016llx", static_cast<unsigned long long>(random));
  return GroupId(id + tail.data());
}

bool IsGroupId(std::string_view text) noexcept {
  constexpr std::string_view kShape = "ddddddddTddddddZ-hhhhhhhhhhhhhhhh";
  if (text.size() != kShape.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    const bool hex = digit || (text[i] >= 'a' && text[i] <= 'f');
    const bool fits = kShape[i] == 'd' ? digit : kShape[i] == 'h' ? hex : text[i] == kShape[i];
    if (!fits) return false;
  }
  return true;
}

}  // namespace holdfast
