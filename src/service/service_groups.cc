// The part of Service that lists, shows and forgets groups.

#include <algorithm>
#include <utility>

#include "model/json.h"
#include "repo/image_reader.h"
#include "service/service.h"
#include "service/service_parts.h"

namespace holdfast {

Status Service::RecordGroup(const CallContext& call, const GroupManifest& manifest,
                            bool forgotten) {
  HF_TRY(Catalog* const catalog, parts_->OpenedCatalog(call));
  HF_TRY(Repository* const repository, parts_->OpenedRepository(call));
  HF_TRY(const RepositoryConfig section, parts_->RepositorySection());
  HF_RETURN_IF_ERROR(catalog->SeeRepository(call, {.repository_id = repository->id(),
                                                   .url = section.url,
                                                   .first_seen_at = {},
                                                   .last_seen_at = {}}));
  GroupRecord record;
  record.id = manifest.id;
  record.repository_id = repository->id();
  record.cluster = manifest.cluster;
  record.begun_at = manifest.begun_at;
  record.cut_at = manifest.cut_at;
  record.state = forgotten ? GroupState::kForgotten : GroupState::kComplete;
  record.consistency = manifest.consistency;
  record.skew = Duration(manifest.skew_us);
  record.collections = manifest.collections.size();
  for (const CollectionSummary& summary : manifest.collections) record.shards += summary.shards;
  record.points = manifest.points;
  record.bytes_read = manifest.bytes_read;
  record.bytes_new = manifest.bytes_new;
  record.bytes_stored = manifest.bytes_stored;
  record.summary_json = ManifestToJson(manifest);
  // A group of very many collections is too long for a row; it is read from the repository then.
  if (record.summary_json.size() > kDocumentBytesMax) record.summary_json.clear();
  return catalog->PutGroup(call, record);
}

Result<std::vector<GroupLine>> Service::ListGroups(const CallContext& call,
                                                   bool include_forgotten) {
  HF_TRY(Repository* const repository, parts_->OpenedRepository(call));
  HF_TRY(const auto groups, repository->ListGroups(call, {.include_forgotten = include_forgotten}));
  // The catalog is a cache of manifests here; the repository says which groups there are.
  const auto catalog = parts_->OpenedCatalog(call);
  std::vector<GroupLine> lines;
  for (const GroupInfo& info : groups) {
    std::optional<GroupManifest> manifest;
    if (catalog.ok()) {
      const auto known = (*catalog)->FindGroup(call, repository->id(), info.group);
      if (known.ok() && *known && !(*known)->summary_json.empty()) {
        auto read = ManifestFromJson((*known)->summary_json);
        if (read.ok()) manifest = *std::move(read);
      }
    }
    if (!manifest) {
      HF_TRY(const GroupEnvelope envelope, repository->ReadManifest(call, info.group));
      HF_TRY(manifest, ManifestFromJson(envelope.body));
      static_cast<void>(RecordGroup(call, *manifest, info.forgotten).ok());
    }
    lines.push_back({.manifest = *std::move(manifest), .forgotten = info.forgotten});
  }
  std::ranges::sort(lines, [](const GroupLine& a, const GroupLine& b) {
    return a.manifest.cut_at > b.manifest.cut_at;
  });
  return lines;
}

Result<GroupId> Service::ResolveGroup(const CallContext& call, const std::string& text,
                                      const std::optional<WallTime>& at) {
  HF_TRY(Repository* const repository, parts_->OpenedRepository(call));
  HF_TRY(const auto groups, repository->ListGroups(call));
  const std::string hint = "`holdfast groups` lists what there is";
  if (at) {
    HF_TRY(const auto lines, ListGroups(call, false));
    for (const GroupLine& line : lines) {
      if (line.manifest.cut_at <= *at) return line.manifest.id;
    }
    return Error(ErrorCode::kNotFound, "no group was cut at or before " + FormatTime(*at), hint);
  }
  if (text == "latest") {
    HF_TRY(const auto lines, ListGroups(call, false));
    if (lines.empty()) return Error(ErrorCode::kNotFound, "the repository holds no group", hint);
    return lines.front().manifest.id;
  }
  std::vector<GroupId> matching;
  for (const GroupInfo& info : groups) {
    if (info.group.value().starts_with(text)) matching.push_back(info.group);
  }
  if (text.empty() || matching.empty()) {
    return Error(ErrorCode::kNotFound, "there is no group '" + text + "'", hint);
  }
  if (matching.size() > 1) {
    return Error(ErrorCode::kInvalidArgument,
                 "'" + text + "' begins the ids of " + std::to_string(matching.size()) + " groups",
                 "give more of the id: " + matching[0].value() + ", " + matching[1].value());
  }
  return matching.front();
}

Result<GroupLine> Service::ReadGroup(const CallContext& call, const GroupId& group) {
  HF_TRY(Repository* const repository, parts_->OpenedRepository(call));
  HF_TRY(const GroupEnvelope envelope, repository->ReadManifest(call, group));
  HF_TRY(GroupManifest manifest, ManifestFromJson(envelope.body));
  HF_TRY(const bool forgotten, repository->IsForgotten(call, group));
  return GroupLine{.manifest = std::move(manifest), .forgotten = forgotten};
}

Result<std::vector<CollectionRecord>> Service::ReadRecords(const CallContext& call,
                                                           const GroupId& group) {
  HF_TRY(Repository* const repository, parts_->OpenedRepository(call));
  HF_TRY(const GroupEnvelope envelope, repository->ReadManifest(call, group));
  std::vector<CollectionRecord> records;
  for (const RecordRef& ref : envelope.records) {
    HF_TRY(const std::string text, repository->ReadCollection(call, envelope, ref.number));
    HF_TRY(CollectionRecord record, RecordFromJson(text));
    records.push_back(std::move(record));
  }
  return records;
}

Status Service::ReadAttachment(const CallContext& call, const GroupId& group,
                               const std::string& name, ByteSink& out) {
  HF_TRY(const GroupLine line, ReadGroup(call, group));
  HF_TRY(Repository* const repository, parts_->OpenedRepository(call));
  for (const Attachment& attachment : line.manifest.attachments) {
    if (attachment.name != name) continue;
    HF_TRY(const auto image, ImageReader::Open(call, *repository, attachment.file));
    HF_TRY(const auto source, image->OpenTar(call));
    HF_TRY(const std::uint64_t copied, CopyAll(call, *source, out));
    if (copied == attachment.bytes) return {};
    return Error(ErrorCode::kDataLoss, "attachment '" + name + "' has another size than recorded");
  }
  return Error(ErrorCode::kNotFound, "group " + group.value() + " has no attachment '" + name + "'",
               "`holdfast show " + group.value() + "` lists them");
}

Status Service::Forget(const CallContext& call, const GroupId& group, const std::string& reason) {
  HF_TRY(Repository* const repository, parts_->OpenedRepository(call));
  HF_TRY(const GroupLine line, ReadGroup(call, group));
  const std::string note = json::Dump({{"reason", reason},
                                       {"at", FormatTime(parts_->clock().Wall())},
                                       {"holdfast_version", Version()}});
  HF_RETURN_IF_ERROR(repository->Forget(call, group, note));
  static_cast<void>(RecordGroup(call, line.manifest, /*forgotten=*/true).ok());
  return {};
}

Result<std::uint64_t> Service::RebuildCatalog(const CallContext& call) {
  HF_TRY(Repository* const repository, parts_->OpenedRepository(call));
  HF_TRY(Catalog* const catalog, parts_->OpenedCatalog(call));
  HF_TRY(const RepositoryConfig section, parts_->RepositorySection());
  HF_RETURN_IF_ERROR(catalog->SeeRepository(call, {.repository_id = repository->id(),
                                                   .url = section.url,
                                                   .first_seen_at = {},
                                                   .last_seen_at = {}}));
  HF_TRY(const std::uint64_t rebuild, catalog->BeginRebuild(call, repository->id()));
  HF_TRY(const auto groups, repository->ListGroups(call, {.include_forgotten = true}));
  for (const GroupInfo& info : groups) {
    HF_TRY(const GroupEnvelope envelope, repository->ReadManifest(call, info.group));
    HF_TRY(const GroupManifest manifest, ManifestFromJson(envelope.body));
    HF_RETURN_IF_ERROR(RecordGroup(call, manifest, info.forgotten));
  }
  HF_TRY(const std::uint64_t removed, catalog->FinishRebuild(call, repository->id(), rebuild));
  static_cast<void>(removed);
  return static_cast<std::uint64_t>(groups.size());
}

}  // namespace holdfast
