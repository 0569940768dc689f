// The part of Service that lists, shows and forgets groups.

#include <algorithm>
#include <set>
#include <utility>

#include "model/json.h"
#include "repo/image_reader.h"
#include "service/service.h"
#include "service/service_parts.h"

namespace holdfast {
namespace {

Result<GroupManifest> ReadManifestOf(const CallContext& call, Repository& repository,
                                     const GroupId& group) {
  HF_TRY(const GroupEnvelope envelope, repository.ReadManifest(call, group));
  return ManifestFromJson(envelope.body);
}

/// How ids that were made at `time` begin: 20261122T032438.
std::string IdTime(WallTime time) {
  std::string text = FormatTime(time).substr(0, 19);
  std::erase_if(text, [](char c) { return c == '-' || c == ':'; });
  // Above every id of that second.
  return text + "Z~";
}

}  // namespace

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

Result<GroupListing> Service::ListGroups(const CallContext& call, bool include_forgotten) {
  HF_TRY(Repository* const repository, parts_->OpenedRepository(call));
  HF_TRY(const auto groups, repository->ListGroups(call, {.include_forgotten = include_forgotten}));
  // The catalog is a cache of manifests here; the repository says which groups there are.
  const auto catalog = parts_->OpenedCatalog(call);
  if (!catalog.ok() && parts_->observer() != nullptr) {
    parts_->observer()->OnWarning("read without the catalog: " + catalog.error().message());
  }
  GroupListing listing;
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
      auto read = ReadManifestOf(call, *repository, info.group);
      if (!read.ok() && read.error().code() == ErrorCode::kDataLoss) {
        // One damaged manifest must not hide the groups that can be restored.
        listing.damaged.push_back({.group = info.group, .why = read.error()});
        continue;
      }
      HF_TRY(manifest, std::move(read));
      if (catalog.ok()) static_cast<void>(RecordGroup(call, *manifest, info.forgotten).ok());
    }
    const std::size_t collections = manifest->collections.size();
    manifest->collections = {};
    manifest->topology = {};
    listing.groups.push_back({.manifest = *std::move(manifest),
                              .forgotten = info.forgotten,
                              .collections = collections});
  }
  std::ranges::sort(listing.groups, [](const GroupLine& a, const GroupLine& b) {
    return a.manifest.cut_at > b.manifest.cut_at;
  });
  return listing;
}

Result<GroupId> Service::NewestGroup(const CallContext& call, const std::optional<WallTime>& at,
                                     const std::string& from) {
  const std::string hint = "`holdfast groups` lists what there is";
  HF_TRY(const GroupListing listing, ListGroups(call, false));
  std::set<std::string> clusters;
  const auto counts = [](const GroupLine& line) { return line.manifest.purpose.empty(); };
  for (const GroupLine& line : listing.groups) {
    if (counts(line)) clusters.insert(line.manifest.cluster);
  }
  if (from.empty() && clusters.size() > 1) {
    std::string names;
    for (const std::string& name : clusters) names += (names.empty() ? "" : ", ") + name;
    return Error(ErrorCode::kInvalidArgument,
                 "the repository holds groups of several clusters: " + names,
                 "say whose: --from NAME with restore, --cluster NAME with other commands; or give "
                 "the group's id");
  }
  const auto found = std::ranges::find_if(listing.groups, [&](const GroupLine& line) {
    return counts(line) && (from.empty() || line.manifest.cluster == from) &&
           (!at || line.manifest.cut_at <= *at);
  });
  const std::string chosen =
      found == listing.groups.end() ? std::string() : found->manifest.id.value();
  for (const DamagedGroup& damaged : listing.damaged) {
    const std::string& id = damaged.group.value();
    // An id begins with the time at which its backup began.
    if (id < chosen || (at && id > IdTime(*at))) continue;
    return Error(damaged.why)
        .While("group " + id + " may be the one that is asked for")
        .WithHint(chosen.empty() ? hint : "the newest that can be read is " + chosen);
  }
  if (!chosen.empty()) return found->manifest.id;
  const std::string whose = from.empty() ? "" : " of cluster '" + from + "'";
  if (!at) return Error(ErrorCode::kNotFound, "the repository holds no group" + whose, hint);
  return Error(ErrorCode::kNotFound,
               "no group" + whose + " was cut at or before " + FormatTime(*at), hint);
}

Result<GroupId> Service::ResolveGroup(const CallContext& call, const std::string& text,
                                      const std::optional<WallTime>& at, const std::string& from) {
  if (at || text == "latest") return NewestGroup(call, at, from);
  HF_TRY(Repository* const repository, parts_->OpenedRepository(call));
  HF_TRY(const auto groups, repository->ListGroups(call));
  std::vector<GroupId> matching;
  for (const GroupInfo& info : groups) {
    if (info.group.value().starts_with(text)) matching.push_back(info.group);
  }
  if (text.empty() || matching.empty()) {
    return Error(ErrorCode::kNotFound, "there is no group '" + text + "'",
                 "`holdfast groups` lists what there is");
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
  const std::size_t collections = manifest.collections.size();
  return GroupLine{
      .manifest = std::move(manifest), .forgotten = forgotten, .collections = collections};
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
  auto line = ReadGroup(call, group);
  // A damaged group is a good one to forget; there is only nothing to record of it.
  if (!line.ok() && line.error().code() != ErrorCode::kDataLoss) return std::move(line).error();
  const std::string note = json::Dump({{"reason", reason},
                                       {"at", FormatTime(parts_->clock().Wall())},
                                       {"holdfast_version", Version()}});
  HF_RETURN_IF_ERROR(repository->Forget(call, group, note));
  if (line.ok()) static_cast<void>(RecordGroup(call, line->manifest, /*forgotten=*/true).ok());
  return {};
}

Result<RebuildReport> Service::RebuildCatalog(const CallContext& call, bool dry_run) {
  HF_TRY(Repository* const repository, parts_->OpenedRepository(call));
  Catalog* catalog = nullptr;
  std::uint64_t rebuild = 0;
  if (!dry_run) {
    HF_TRY(catalog, parts_->OpenedCatalog(call));
    HF_TRY(const RepositoryConfig section, parts_->RepositorySection());
    HF_RETURN_IF_ERROR(catalog->SeeRepository(call, {.repository_id = repository->id(),
                                                     .url = section.url,
                                                     .first_seen_at = {},
                                                     .last_seen_at = {}}));
    HF_TRY(rebuild, catalog->BeginRebuild(call, repository->id()));
  }
  HF_TRY(const auto groups, repository->ListGroups(call, {.include_forgotten = true}));
  RebuildReport report;
  for (const GroupInfo& info : groups) {
    const auto manifest = ReadManifestOf(call, *repository, info.group);
    if (!manifest.ok() && manifest.error().code() == ErrorCode::kDataLoss) {
      report.damaged.push_back({.group = info.group, .why = manifest.error()});
      continue;
    }
    if (!manifest.ok()) return manifest.error();
    if (!dry_run) HF_RETURN_IF_ERROR(RecordGroup(call, *manifest, info.forgotten));
    ++report.groups;
  }
  if (!dry_run) {
    HF_TRY(report.removed, catalog->FinishRebuild(call, repository->id(), rebuild));
  }
  return report;
}

Result<std::vector<JobRecord>> Service::ListJobs(const CallContext& call, std::size_t limit) {
  HF_TRY(Catalog* const catalog, parts_->OpenedCatalog(call));
  JobFilter filter;
  if (!parts_->choices().cluster.empty()) filter.cluster = parts_->choices().cluster;
  std::vector<JobRecord> jobs;
  while (jobs.size() < limit) {
    std::optional<JobId> after;
    if (!jobs.empty()) after = jobs.back().id;
    const std::size_t rows = std::min(limit - jobs.size(), kPageRowsMax);
    HF_TRY(auto page, catalog->ListJobs(call, filter, rows, after));
    const bool last = page.size() < rows;
    std::ranges::move(page, std::back_inserter(jobs));
    if (last) break;
  }
  return jobs;
}

}  // namespace holdfast
