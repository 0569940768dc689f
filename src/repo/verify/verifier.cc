#include "repo/verify/verifier.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "exec/thread_group.h"
#include "model/group.h"
#include "model/json.h"
#include "repo/format/config.h"
#include "repo/format/group_json.h"
#include "repo/list_reader.h"
#include "repo/listing.h"
#include "store/object_store.h"

namespace holdfast {
namespace {

constexpr std::size_t kRandomBytes = 8;
/// Manifests, records and heads are small: what takes time is waiting for the store.
constexpr std::size_t kDocumentThreads = 8;
constexpr std::size_t kForeignMax = 1000;

/// Calls `work` with every number below `count`, several at once. The first error ends it.
Status ForEach(const CallContext& call, std::size_t count, std::size_t threads_max,
               const std::function<Status(const CallContext&, std::size_t)>& work) {
  std::atomic<std::size_t> next = 0;
  ThreadGroup threads(call);
  for (std::size_t i = 0; i < std::min(std::max<std::size_t>(threads_max, 1), count); ++i) {
    HF_RETURN_IF_ERROR(threads.Start([&](const CallContext& thread_call) -> Status {
      for (std::size_t n = next++; n < count; n = next++) {
        HF_RETURN_IF_ERROR(work(thread_call, n));
      }
      return {};
    }));
  }
  return threads.Join();
}

std::string RecordLabel(std::uint32_t number) {
  return fmt::format("collection record {}", number);
}

}  // namespace

Result<VerifyReport> Verifier::Run(const CallContext& call) {
  HF_TRY(packs_, PackContents::Create(options_.spool_directory));
  HF_TRY(const auto listed, repository_.ListGroups(call));
  std::vector<GroupId> wanted = options_.groups;
  if (wanted.empty()) {
    for (const GroupInfo& group : listed) wanted.push_back(group.group);
  }
  HF_TRY(const auto intent,
         Intent::Declare(call, repository_,
                         {.purpose = "verify", .own = std::nullopt, .relies_on = wanted}));
  groups_ = intent->relied_on();
  if (!options_.groups.empty() && groups_.size() != wanted.size()) {
    return Error(ErrorCode::kFailedPrecondition, "one of the groups to verify is forgotten");
  }
  HF_RETURN_IF_ERROR(ChooseShare(call));
  HF_RETURN_IF_ERROR(CheckConfig(call));
  HF_RETURN_IF_ERROR(ListEverything(call));
  HF_RETURN_IF_ERROR(CheckNotes(call));
  for (const GroupId& group : groups_) HF_RETURN_IF_ERROR(CheckGroup(call, group));
  HF_RETURN_IF_ERROR(ForEachImage(
      call, [this](const CallContext& image_call, const GroupId& group, const ImageRef& image) {
        return CollectPacks(image_call, group, image);
      }));
  HF_RETURN_IF_ERROR(CheckPacks(call));
  HF_RETURN_IF_ERROR(ForEachImage(
      call, [this](const CallContext& image_call, const GroupId& group, const ImageRef& image) {
        return CheckImage(image_call, group, image);
      }));
  HF_RETURN_IF_ERROR(intent->Check());

  VerifyReport report;
  report.groups = groups_.size();
  report.images = images_done_.load();
  report.blocks = blocks_.load();
  report.bytes = bytes_.load();
  report.packs = packs_done_.load();
  report.packs_listed = packs_listed_.load();
  report.share = options_.share;
  report.share_index = share_index_;
  report.damaged_count = damages_.count();
  report.damaged = damages_.Take();
  report.foreign = std::move(foreign_);
  if (options_.record && !repository_.read_only()) HF_RETURN_IF_ERROR(Record(call, report));
  return report;
}

Status Verifier::ChooseShare(const CallContext& call) {
  if (options_.share <= 1) return {};
  std::string last;
  WallTime newest{};
  HF_RETURN_IF_ERROR(VisitObjects(call, repository_.store(), kVerificationsFolder,
                                  [&](const StoredObject& object) {
                                    if (!ParseKey(object.key)) return Status();
                                    if (object.last_modified < newest) return Status();
                                    newest = object.last_modified;
                                    last = object.key;
                                    return Status();
                                  }));
  if (last.empty()) return {};
  const auto content = ReadDocument(call, repository_.store(), repository_.keys(), last);
  if (!content.ok()) return IsDamage(content.error()) ? Status() : content.error();
  const auto report = json::Parse(AsText(*content), last);
  if (!report.ok()) return {};
  json::Reader reader(*report, last);
  if (reader.NumberOr("share", 1) != options_.share) return {};
  share_index_ =
      static_cast<std::uint32_t>((reader.NumberOr("share_index", 0) + 1) % options_.share);
  return {};
}

bool Verifier::InShare(const PackId& id) const noexcept {
  return options_.share <= 1 || PackPrefix(id) % options_.share == share_index_;
}

Status Verifier::CheckConfig(const CallContext& call) {
  const std::string object(kConfigKey);
  const auto text = repository_.store().Get(call, object);
  if (!text.ok()) {
    if (!IsDamage(text.error())) return text.error();
    damages_.Add(object, std::nullopt, text.error().message());
    return {};
  }
  const auto config = ReadConfig::Parse(AsText(*text));
  const Status status = config.ok() ? config->Check(repository_.keys()) : Status(config.error());
  if (!status.ok()) damages_.Add(object, std::nullopt, status.error().message());
  return {};
}

Status Verifier::ListEverything(const CallContext& call) {
  std::map<std::string, std::vector<std::uint64_t>> prefixes;
  HF_RETURN_IF_ERROR(VisitObjects(call, repository_.store(), "", [&](const StoredObject& object) {
    const auto key = ParseKey(object.key);
    if (!key) {
      if (foreign_.size() < kForeignMax) foreign_.push_back(object.key);
      return Status();
    }
    switch (key->kind) {
      case KeyKind::kPack:
        prefixes[key->group.value()].push_back(PackPrefix(key->pack));
        break;
      case KeyKind::kIntent:
      case KeyKind::kForgotten:
      case KeyKind::kVerification:
        notes_.push_back(object.key);
        break;
      default:
        break;
    }
    return Status();
  }));
  for (auto& [attempt, list] : prefixes) {
    presence_.emplace(attempt, PackPresence(std::move(list)));
  }
  return {};
}

Status Verifier::CheckNotes(const CallContext& call) {
  for (const std::string& note : notes_) {
    const auto content = ReadDocument(call, repository_.store(), repository_.keys(), note);
    if (content.ok()) continue;
    // Intents come and go.
    if (content.error().code() == ErrorCode::kNotFound) continue;
    if (!IsDamage(content.error())) return content.error();
    damages_.Add(note, std::nullopt, content.error().message());
  }
  return {};
}

Status Verifier::CheckGroup(const CallContext& call, const GroupId& group) {
  const auto envelope = repository_.ReadManifest(call, group);
  if (!envelope.ok()) {
    if (!IsDamage(envelope.error())) return envelope.error();
    damages_.Add(ManifestKey(group), std::nullopt, envelope.error().message(),
                 AffectedImage{.group = group, .label = ""});
    return {};
  }
  return ForEach(call, envelope->records.size(), kDocumentThreads,
                 [&](const CallContext& record_call, std::size_t n) -> Status {
                   const std::uint32_t number = envelope->records[n].number;
                   const auto content = repository_.ReadCollection(record_call, *envelope, number);
                   if (content.ok()) return {};
                   if (!IsDamage(content.error())) return content.error();
                   damages_.Add(RecordKey(group, number), std::nullopt, content.error().message(),
                                AffectedImage{.group = group, .label = RecordLabel(number)});
                   return {};
                 });
}

Status Verifier::ForEachImage(
    const CallContext& call,
    const std::function<Status(const CallContext&, const GroupId&, const ImageRef&)>& work) {
  for (const GroupId& group : groups_) {
    // Manifests are read again rather than kept: there may be many.
    const auto envelope = repository_.ReadManifest(call, group);
    if (!envelope.ok()) {
      if (!IsDamage(envelope.error())) return envelope.error();
      continue;
    }
    HF_RETURN_IF_ERROR(ForEach(call, envelope->images.size(), kDocumentThreads,
                               [&](const CallContext& image_call, std::size_t n) {
                                 return work(image_call, group, envelope->images[n]);
                               }));
  }
  return {};
}

Status Verifier::CollectPacks(const CallContext& call, const GroupId& group,
                              const ImageRef& image) {
  const auto head = GetImageHead(call, repository_, image.key);
  if (!head.ok()) {
    if (!IsDamage(head.error())) return head.error();
    damages_.Add(image.key, std::nullopt, head.error().message(),
                 AffectedImage{.group = group, .label = image.label});
    return {};
  }
  for (std::uint32_t pack = 0; pack < head->packs.size(); ++pack) {
    packs_->Add(head->packs.group(pack), head->packs.id(pack));
  }
  return {};
}

Status Verifier::CheckPacks(const CallContext& call) {
  return ForEach(call, packs_->size(), options_.parallelism,
                 [&](const CallContext& pack_call, std::size_t n) -> Status {
                   HF_RETURN_IF_ERROR(CheckPack(pack_call, static_cast<std::uint32_t>(n)));
                   damages_.OnProgress({.packs_done = packs_done_.load() + packs_listed_.load(),
                                        .packs = packs_->size(),
                                        .bytes_done = bytes_.load(),
                                        .damaged = damages_.count()});
                   return {};
                 });
}

Status Verifier::CheckPack(const CallContext& call, std::uint32_t pack) {
  const GroupId attempt = packs_->AttemptOf(pack);
  const PackId id = packs_->IdOf(pack);
  const std::string key = PackKey(attempt, id);
  const auto present = presence_.find(attempt.value());
  if (present == presence_.end() || !present->second.Contains(id)) {
    packs_->SetDamaged(pack);
    damages_.Add(key, std::nullopt, "it is missing");
    return {};
  }
  if (!InShare(id)) {
    ++packs_listed_;
    return {};
  }
  ++packs_done_;
  return ReadPack(call, pack, key);
}

Status Verifier::ReadPack(const CallContext& call, std::uint32_t pack, const std::string& key) {
  const auto damaged = [&](const Error& error) -> Status {
    // An object that has grown beyond what the store hands out is damaged too.
    if (!IsDamage(error) && error.code() != ErrorCode::kResourceExhausted) return error;
    packs_->SetDamaged(pack);
    damages_.Add(key, std::nullopt, error.message());
    return {};
  };
  const auto object = repository_.store().Get(call, key);
  if (!object.ok()) return damaged(object.error());
  const PackOpener opener(repository_.keys(), packs_->IdOf(pack), key);
  const auto footer = opener.ReadFooter(*object);
  if (!footer.ok()) return damaged(footer.error());
  Codec codec;
  Bytes plain;
  std::vector<std::uint64_t> marks;
  marks.reserve(footer->size());
  for (const PackEntry& entry : *footer) {
    plain.clear();
    const ByteView sealed = ByteView(*object).subspan(entry.place.offset, entry.place.sealed_size);
    const Status opened = opener.OpenBlock(entry.block, entry.place, sealed, codec, plain);
    if (!opened.ok()) {
      if (!IsDamage(opened.error())) return opened;
      damages_.Add(key, entry.place.position, opened.error().message());
      marks.push_back(kDamagedMark);
      continue;
    }
    marks.push_back(PackEntryMark(entry.block, entry.place));
    ++blocks_;
    bytes_ += entry.block.plain_size;
  }
  return packs_->SetRead(pack, marks);
}

Status Verifier::Record(const CallContext& call, const VerifyReport& report) {
  const auto chance = repository_.random().Draw<kRandomBytes>();
  std::uint64_t random = 0;
  for (const std::byte b : chance) random = random << 8 | std::to_integer<std::uint64_t>(b);
  const WallTime now = repository_.clock().Wall();
  const std::string key =
      fmt::format("{}{}", kVerificationsFolder, MakeGroupId(now, random).value());
  HF_TRY(json::Json document, json::Parse(VerifyReportToJson(report), "the report"));
  document["format"] = kFormatVersion;
  document["verified_at"] = FormatTime(now);
  HF_TRY(const Bytes sealed, SealDocument(repository_.keys(), repository_.random(), key,
                                          AsBytes(json::Dump(document))));
  return repository_.store().Put(call, key, sealed, PutMode::kIfAbsent);
}

}  // namespace holdfast
