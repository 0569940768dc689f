#include "repo/repository.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "repo/format/config.h"
#include "repo/format/document.h"
#include "repo/format/group_json.h"
#include "repo/intent.h"
#include "repo/listing.h"
#include "store/object_store.h"

namespace holdfast {
namespace {

constexpr std::size_t kDataKeyBytes = 32;

Status CheckPassword(Sealing sealing, const Secret& password) {
  if (sealing == Sealing::kNone && !password.empty()) {
    return Error(ErrorCode::kInvalidArgument,
                 "a password was given for a repository without encryption",
                 "Leave the password out, or choose encryption");
  }
  if (sealing != Sealing::kNone && password.empty()) {
    return Error(ErrorCode::kInvalidArgument, "an encrypted repository needs a password",
                 "Give a password, or choose a repository without encryption");
  }
  return {};
}

Result<ReadConfig> GetConfig(const CallContext& call, ObjectStore& store) {
  const auto text = store.Get(call, kConfigKey);
  if (!text.ok()) {
    if (text.error().code() != ErrorCode::kNotFound)
      return text.error().While("read holdfast.json");
    return Error(ErrorCode::kNotFound,
                 fmt::format("there is no repository in {}", store.Describe()),
                 "Make one with 'holdfast init', or look whether the place is the right one");
  }
  return ReadConfig::Parse(AsText(*text));
}

Result<Secret> OpenDataKey(const RepositoryConfig& config, const OpenOptions& options) {
  if (options.sealing && *options.sealing != config.sealing) {
    return Error(ErrorCode::kFailedPrecondition,
                 fmt::format("the repository was made with encryption '{}', the configuration says "
                             "'{}'",
                             SealingName(config.sealing), SealingName(*options.sealing)),
                 "Encryption is chosen by init and never changes: correct the configuration");
  }
  if (config.sealing == Sealing::kNone) {
    if (options.password.empty()) return Secret();
    return Error(ErrorCode::kFailedPrecondition,
                 "a password is configured, but the repository is not encrypted",
                 "Encryption is chosen by init and never changes: remove the password, or make a "
                 "new repository");
  }
  if (options.password.empty()) {
    return Error(ErrorCode::kPermissionDenied, "the repository is encrypted: a password is needed",
                 "Configure the password of the repository");
  }
  return UnwrapKey(config.repository, *config.key, options.password);
}

}  // namespace

struct Repository::Opened {
  RepositoryConfig config;
  std::unique_ptr<KeyRing> keys;
};

Repository::Repository(ObjectStore& store, Opened opened, const OpenOptions& options)
    : store_(store),
      clock_(options.clock),
      random_(options.random),
      id_(ToHex(opened.config.repository)),
      sealing_(opened.config.sealing),
      block_bytes_(opened.config.block_bytes),
      created_at_(opened.config.created_at),
      read_only_(options.read_only),
      keys_(std::move(opened.keys)) {}

Repository::~Repository() = default;

Status Repository::CheckFree(const CallContext& call, ObjectStore& store) {
  const auto old = store.Stat(call, kConfigKey);
  if (old.ok()) {
    return Error(ErrorCode::kAlreadyExists,
                 fmt::format("there is a repository in {} already", store.Describe()));
  }
  if (old.error().code() != ErrorCode::kNotFound) {
    return old.error().While("look for holdfast.json");
  }
  for (const std::string_view folder : {kGroupsFolder, kPacksFolder}) {
    HF_TRY(const auto left, store.List(call, folder, ""));
    if (left.empty()) continue;
    return Error(ErrorCode::kFailedPrecondition,
                 fmt::format("{} holds backups whose holdfast.json is missing ({})",
                             store.Describe(), left.front().key),
                 "Bring holdfast.json back from a copy: without it, and with a new one, nobody can "
                 "read them. Or choose another place");
  }
  return {};
}

Status Repository::Init(const CallContext& call, ObjectStore& store, const InitOptions& options) {
  HF_RETURN_IF_ERROR(CheckPassword(options.sealing, options.password));
  HF_RETURN_IF_ERROR(CheckFree(call, store));
  const auto exists = [&] {
    return Error(ErrorCode::kAlreadyExists,
                 fmt::format("there is a repository in {} already", store.Describe()));
  };

  RepositoryConfig config{.repository = options.random.Draw<std::tuple_size_v<RepositoryId>>(),
                          .created_at = options.clock.Wall(),
                          .sealing = options.sealing,
                          .block_bytes = kBlockBytes,
                          .key = std::nullopt};
  Secret data_key;
  if (options.sealing != Sealing::kNone) {
    data_key = options.random.DrawSecret(kDataKeyBytes);
    HF_TRY(config.key,
           WrapKey(config.repository, data_key, options.password, options.kdf, options.random));
  }
  const KeyRing keys(options.sealing, config.repository, std::move(data_key));
  const std::string text = WriteConfig(config, keys);
  const Status put = store.Put(call, kConfigKey, AsBytes(text), PutMode::kIfAbsent);
  if (!put.ok()) {
    if (put.error().code() == ErrorCode::kAlreadyExists) return exists();
    return put.error().While("write holdfast.json");
  }
  // A store may ignore conditions: of two that race, one finds the other's file here.
  HF_TRY(const ReadConfig stored, GetConfig(call, store));
  if (stored.config().repository != config.repository) return exists();
  return {};
}

Result<std::unique_ptr<Repository>> Repository::Open(const CallContext& call, ObjectStore& store,
                                                     const OpenOptions& options) {
  HF_TRY(const ReadConfig read, GetConfig(call, store));
  HF_TRY(Secret data_key, OpenDataKey(read.config(), options));
  Opened opened{.config = read.config(), .keys = nullptr};
  opened.keys = std::make_unique<KeyRing>(opened.config.sealing, opened.config.repository,
                                          std::move(data_key));
  HF_RETURN_IF_ERROR(read.Check(*opened.keys));
  return std::unique_ptr<Repository>(new Repository(store, std::move(opened), options));
}

Status Repository::ChangePassword(const CallContext& call, const Secret& password, Argon2Cost kdf) {
  if (sealing_ == Sealing::kNone) {
    return Error(ErrorCode::kFailedPrecondition,
                 "the repository is not encrypted, so it has no password");
  }
  HF_TRY(const ReadConfig read, GetConfig(call, store_));
  HF_RETURN_IF_ERROR(read.Check(*keys_));
  RepositoryConfig config = read.config();
  HF_TRY(config.key, WrapKey(config.repository, keys_->data_key(), password, kdf, random_));
  const std::string text = WriteConfig(config, *keys_);
  return store_.Put(call, kConfigKey, AsBytes(text), PutMode::kReplace);
}

Result<std::vector<GroupInfo>> Repository::ListGroups(const CallContext& call,
                                                      const ListOptions& options) {
  std::set<std::string, std::less<>> forgotten;
  HF_RETURN_IF_ERROR(VisitObjects(call, store_, kForgottenFolder, [&](const StoredObject& object) {
    if (const auto key = ParseKey(object.key)) forgotten.insert(key->group.value());
    return Status();
  }));
  std::vector<GroupInfo> groups;
  HF_RETURN_IF_ERROR(VisitObjects(call, store_, kGroupsFolder, [&](const StoredObject& object) {
    const auto key = ParseKey(object.key);
    if (!key) return Status();
    const bool marked = forgotten.contains(key->group.value());
    if (marked && !options.include_forgotten) return Status();
    groups.push_back({.group = key->group,
                      .stored_at = object.last_modified,
                      .manifest_bytes = object.size,
                      .forgotten = marked});
    return Status();
  }));
  return groups;
}

Result<std::vector<AttemptInfo>> Repository::ListBrokenAttempts(const CallContext& call) {
  std::map<std::string, AttemptInfo> attempts;
  for (const std::string_view folder : {kPacksFolder, kImagesFolder, kRecordsFolder}) {
    HF_RETURN_IF_ERROR(
        VisitAttempts(call, store_, folder, [&](const GroupId& group, const StoredObject& first) {
          attempts.try_emplace(
              group.value(),
              AttemptInfo{.group = group, .stored_at = first.last_modified, .declared = false});
          return Status();
        }));
  }
  // Manifests are listed after the rest: a group that was completed meanwhile is not broken.
  HF_TRY(const auto groups, ListGroups(call, {.include_forgotten = true}));
  for (const GroupInfo& group : groups) attempts.erase(group.group.value());
  HF_RETURN_IF_ERROR(VisitObjects(call, store_, kForgottenFolder, [&](const StoredObject& object) {
    if (const auto key = ParseKey(object.key)) attempts.erase(key->group.value());
    return Status();
  }));
  if (!attempts.empty()) {
    HF_TRY(const auto intents, ListIntents(call, *this));
    for (const IntentInfo& intent : intents) {
      if (!intent.note || !intent.note->own) continue;
      const auto found = attempts.find(intent.note->own->value());
      if (found != attempts.end()) found->second.declared = true;
    }
  }
  std::vector<AttemptInfo> out;
  for (auto& [id, attempt] : attempts) out.push_back(std::move(attempt));
  return out;
}

Result<GroupEnvelope> Repository::ReadManifest(const CallContext& call, const GroupId& group) {
  const std::string key = ManifestKey(group);
  auto content = ReadDocument(call, store_, *keys_, key);
  if (!content.ok()) {
    if (content.error().code() != ErrorCode::kNotFound) return std::move(content).error();
    return Error(ErrorCode::kNotFound, fmt::format("there is no group {}", group.value()));
  }
  return ReadManifestJson(keys_->repository(), group, AsText(*content), key);
}

Result<std::string> Repository::ReadCollection(const CallContext& call,
                                               const GroupEnvelope& envelope,
                                               std::uint32_t number) {
  const auto record = std::ranges::find(envelope.records, number, &RecordRef::number);
  if (record == envelope.records.end()) {
    return Error(ErrorCode::kNotFound, fmt::format("group {} has no collection record {}",
                                                   envelope.group.value(), number));
  }
  const std::string key = RecordKey(envelope.group, number);
  auto content = ReadDocument(call, store_, *keys_, key);
  if (!content.ok()) {
    if (content.error().code() != ErrorCode::kNotFound) return std::move(content).error();
    return Error(ErrorCode::kDataLoss, fmt::format("{} is missing", key));
  }
  if (content->size() != record->bytes || Sha256Of(*content) != record->sha256) {
    return Error(ErrorCode::kDataLoss,
                 fmt::format("{} is not the record that the manifest names", key));
  }
  return std::string(AsText(*content));
}

Status Repository::Forget(const CallContext& call, const GroupId& group,
                          std::string_view note_json) {
  const auto manifest = store_.Stat(call, ManifestKey(group));
  if (!manifest.ok()) {
    if (manifest.error().code() != ErrorCode::kNotFound) return manifest.error();
    HF_TRY(const auto broken, ListBrokenAttempts(call));
    HF_TRY(const bool marked, IsForgotten(call, group));
    if (marked) return {};
    if (std::ranges::find(broken, group, &AttemptInfo::group) == broken.end()) {
      return Error(ErrorCode::kNotFound, fmt::format("there is no group {}", group.value()));
    }
  }
  const std::string key = ForgottenKey(group);
  HF_TRY(const std::string text, WriteForgetMark(group, note_json));
  HF_TRY(const Bytes document, SealDocument(*keys_, random_, key, AsBytes(text)));
  const Status put = store_.Put(call, key, document, PutMode::kIfAbsent);
  if (!put.ok() && put.error().code() != ErrorCode::kAlreadyExists) return put;
  return {};
}

Result<std::string> Repository::ReadForgetNote(const CallContext& call, const GroupId& group) {
  const std::string key = ForgottenKey(group);
  HF_TRY(const Bytes content, ReadDocument(call, store_, *keys_, key));
  return ReadForgetMark(group, AsText(content), key);
}

Result<bool> Repository::IsForgotten(const CallContext& call, const GroupId& group) {
  const auto mark = store_.Stat(call, ForgottenKey(group));
  if (mark.ok()) return true;
  if (mark.error().code() == ErrorCode::kNotFound) return false;
  return mark.error();
}

Result<RepositoryTotals> Repository::CountTotals(const CallContext& call) {
  RepositoryTotals totals;
  HF_RETURN_IF_ERROR(VisitObjects(call, store_, "", [&](const StoredObject& object) {
    const auto key = ParseKey(object.key);
    RepositoryTotals::Kind* kind = &totals.other;
    if (key) {
      switch (key->kind) {
        case KeyKind::kManifest:
          kind = &totals.manifests;
          break;
        case KeyKind::kRecord:
          kind = &totals.records;
          break;
        case KeyKind::kImage:
        case KeyKind::kBlockPart:
        case KeyKind::kFilePart:
          kind = &totals.images;
          break;
        case KeyKind::kPack:
          kind = &totals.packs;
          break;
        case KeyKind::kConfig:
        case KeyKind::kIntent:
        case KeyKind::kForgotten:
        case KeyKind::kVerification:
          break;
      }
    }
    ++kind->objects;
    kind->bytes += object.size;
    return Status();
  }));
  return totals;
}

}  // namespace holdfast
