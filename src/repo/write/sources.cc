#include "repo/write/sources.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "exec/thread_group.h"
#include "repo/format/pack.h"
#include "repo/listing.h"
#include "repo/repository.h"
#include "repo/verify.h"
#include "store/object_store.h"

namespace holdfast {
namespace {

/// First guess at the size of a footer: 1,456 blocks.
constexpr std::uint64_t kFooterGuess = 64 * kKiB;
constexpr std::size_t kFooterThreads = 4;
constexpr std::size_t kImagePrefixDigits = 16;

/// The footer of a pack that is in the store, with one or two ranged gets.
Result<std::vector<PackEntry>> GetFooter(const CallContext& call, const Repository& repository,
                                         const StoredObject& object, const PackId& id) {
  if (object.size < kPackHeaderBytes + kPackTrailerBytes) {
    return Error(ErrorCode::kDataLoss, fmt::format("{} is damaged: it is cut short", object.key));
  }
  const PackOpener opener(repository.keys(), id, object.key);
  std::size_t wanted = std::min(object.size, kFooterGuess);
  for (;;) {
    HF_TRY(const Bytes end,
           repository.store().Get(call, object.key,
                                  ByteRange{.offset = object.size - wanted, .size = wanted}));
    std::size_t needed = 0;
    auto footer = opener.ReadFooterFromEnd(end, object.size, needed);
    if (footer.ok() || needed <= wanted) return footer;
    wanted = needed;
  }
}

}  // namespace

Status BlockSources::LeaveOut(const Error& error, std::string_view what) {
  if (error.code() != ErrorCode::kNotFound && error.code() != ErrorCode::kDataLoss &&
      error.code() != ErrorCode::kUnsupported) {
    return error;
  }
  core_.Warn(fmt::format("{} is not used to save space: {}", what, error.message()));
  return {};
}

Status BlockSources::Load(const CallContext& call, const std::vector<GroupId>& parents,
                          const std::vector<GroupId>& broken_attempts) {
  HF_RETURN_IF_ERROR(LoadDamage(call));
  for (const GroupId& group : parents) HF_RETURN_IF_ERROR(LoadParent(call, group));
  for (const GroupId& group : broken_attempts) {
    HF_RETURN_IF_ERROR(LoadHeads(call, group));
    HF_RETURN_IF_ERROR(LoadFooters(call, group));
  }
  return {};
}

Status BlockSources::LoadDamage(const CallContext& call) {
  HF_TRY(damaged_packs_, FindDamagedPacks(call, core_.repository));
  if (!damaged_packs_.empty()) {
    core_.Warn(fmt::format("{} damaged packs are not borrowed from; what they held is stored again",
                           damaged_packs_.size()));
  }
  return {};
}

Status BlockSources::LoadParent(const CallContext& call, const GroupId& group) {
  const auto envelope = core_.repository.ReadManifest(call, group);
  if (!envelope.ok()) return LeaveOut(envelope.error(), fmt::format("group {}", group.value()));
  for (const ImageRef& image : envelope->images)
    image_of_label_.try_emplace(image.label, image.key);
  return {};
}

Status BlockSources::LoadHeads(const CallContext& call, const GroupId& group) {
  BrokenAttempt& attempt = broken_.emplace_back();
  attempt.group = group;
  const std::string folder = ImagesFolderOf(group);
  return VisitObjects(call, core_.repository.store(), folder, [&](const StoredObject& object) {
    const auto key = ParseKey(object.key);
    if (key && key->kind == KeyKind::kImage) {
      attempt.heads.emplace(object.key.substr(folder.size(), kImagePrefixDigits), object.key);
    }
    return Status();
  });
}

Status BlockSources::LoadFooters(const CallContext& call, const GroupId& group) {
  std::vector<StoredObject> packs;
  HF_RETURN_IF_ERROR(VisitObjects(call, core_.repository.store(), PacksFolderOf(group),
                                  [&](const StoredObject& object) {
                                    if (ParseKey(object.key)) packs.push_back(object);
                                    return Status();
                                  }));
  // Newest first, as long as there is room: what was finished is found by its image anyway.
  std::ranges::sort(packs, std::ranges::greater(), &StoredObject::last_modified);
  const std::uint32_t attempt = core_.directory.AddAttempt(group);
  std::atomic<std::size_t> next = 0;
  ThreadGroup threads(call);
  for (std::size_t i = 0; i < kFooterThreads; ++i) {
    HF_RETURN_IF_ERROR(threads.Start([&](const CallContext& thread_call) -> Status {
      for (std::size_t n = next++; n < packs.size(); n = next++) {
        if (core_.known.size() >= core_.known.blocks_max() / 2) return {};
        const StoredObject& object = packs[n];
        if (damaged_packs_.contains(object.key)) continue;
        const PackId id = ParseKey(object.key)->pack;
        const auto footer = GetFooter(thread_call, core_.repository, object, id);
        if (!footer.ok()) {
          HF_RETURN_IF_ERROR(LeaveOut(footer.error(), object.key));
          continue;
        }
        const std::uint32_t pack = core_.directory.Add({.attempt = attempt, .id = id, .number = 0});
        for (const PackEntry& entry : *footer) {
          core_.known.Insert(entry.block.name, {.place = entry.place,
                                                .pack = pack,
                                                .plain_size = entry.block.plain_size,
                                                .codec = entry.block.codec});
        }
      }
      return {};
    }));
  }
  return threads.Join();
}

Result<bool> BlockSources::MayBorrow(const CallContext& call, const GroupId& attempt,
                                     const PackId& pack) {
  if (damaged_packs_.contains(PackKey(attempt, pack))) return false;
  const std::scoped_lock lock(mutex_);
  auto found = presence_.find(attempt.value());
  if (found == presence_.end()) {
    HF_TRY(PackPresence presence, PackPresence::List(call, core_.repository.store(), attempt));
    found = presence_.emplace(attempt.value(), std::move(presence)).first;
  }
  return found->second.Contains(pack);
}

Result<std::shared_ptr<ParentImage>> BlockSources::LoadImage(const CallContext& call,
                                                             const std::string& key,
                                                             std::string_view label) {
  auto parent = ParentImage::Load(
      call, core_.repository, key,
      [&](const GroupId& attempt, const PackId& pack) { return MayBorrow(call, attempt, pack); });
  if (!parent.ok()) {
    HF_RETURN_IF_ERROR(LeaveOut(parent.error(), key));
    return std::shared_ptr<ParentImage>();
  }
  if ((*parent)->label() != label) return std::shared_ptr<ParentImage>();
  return *std::move(parent);
}

Result<std::array<std::shared_ptr<ParentImage>, kParentsMax>> BlockSources::ParentsOf(
    const CallContext& call, std::string_view label) {
  std::array<std::shared_ptr<ParentImage>, kParentsMax> parents;
  for (const BrokenAttempt& attempt : broken_) {
    const std::string prefix = core_.repository.keys().ImagePrefix(attempt.group, label);
    const auto [begin, end] = attempt.heads.equal_range(prefix);
    for (auto it = begin; it != end && !parents[1]; ++it) {
      HF_TRY(parents[1], LoadImage(call, it->second, label));
    }
  }
  if (const auto found = image_of_label_.find(std::string(label)); found != image_of_label_.end()) {
    HF_TRY(parents[0], LoadImage(call, found->second, label));
  }
  return parents;
}

}  // namespace holdfast
