#include "ops/staged.h"

#include <algorithm>
#include <utility>

#include "model/json.h"

namespace holdfast {
namespace {

/// Deleting goes on after Ctrl-C, but not for ever.
constexpr Duration kRemovePatience = std::chrono::seconds(30);

/// Notes the instants of a request that is answered when the work is done.
class Interval final : public CaptureObserver {
 public:
  void OnRequest(MonotonicTime at) override { begin = at; }
  void OnFirstByte(MonotonicTime at) override { end = at; }
  MonotonicTime begin{};
  MonotonicTime end{};
};

bool IsOf(const StoredSnapshot& snapshot, const StagedNote& note) {
  return snapshot.shard == note.shard;
}

}  // namespace

std::string StagedNoteToJson(const StagedNote& note) {
  json::Json out = {{"peer", note.peer.value()},
                    {"collection", note.collection},
                    {"before", note.before},
                    {"asked_at", FormatTime(note.asked_at)}};
  if (note.shard) out["shard"] = note.shard->value();
  return json::Dump(out);
}

Result<StagedNote> StagedNoteFromJson(std::string_view text) {
  HF_TRY(const json::Json document, json::Parse(text, "the note of a staged snapshot"));
  json::Reader in(document, "the note of a staged snapshot");
  StagedNote note{.peer = PeerId(in.Number("peer")),
                  .collection = in.Text("collection"),
                  .shard = std::nullopt,
                  .before = {},
                  .asked_at = {}};
  const std::string asked_at = in.Text("asked_at");
  if (in.Has("shard")) note.shard = ShardId(in.Number32("shard"));
  for (const json::Json& name : in.Array("before")) {
    if (name.is_string()) note.before.push_back(name.get<std::string>());
  }
  HF_RETURN_IF_ERROR(in.status());
  HF_TRY(note.asked_at, ParseTime(asked_at));
  return note;
}

Result<StagedCut> StagedSnapshots::Get(const CallContext& call, PeerId peer,
                                       const std::string& collection,
                                       std::optional<ShardId> shard) {
  std::shared_ptr<Entry> entry;
  {
    const std::scoped_lock lock(mutex_);
    std::shared_ptr<Entry>& slot = entries_[{peer, collection, shard}];
    if (!slot) {
      slot = std::make_shared<Entry>();
      slot->note = {
          .peer = peer, .collection = collection, .shard = shard, .before = {}, .asked_at = {}};
    }
    entry = slot;
  }
  const std::scoped_lock lock(entry->mutex);
  if (!entry->made) entry->made = Make(call, *entry);
  return *entry->made;
}

Result<StagedCut> StagedSnapshots::Make(const CallContext& call, Entry& entry) {
  HF_TRY(const auto there, engine_.ListSnapshots(call, entry.note.peer, entry.note.collection));
  for (const StoredSnapshot& snapshot : there) {
    if (IsOf(snapshot, entry.note)) entry.note.before.push_back(snapshot.name);
  }
  entry.note.asked_at = clock_.Wall();
  HF_RETURN_IF_ERROR(journal_.Creating(entry.note));
  entry.noted = true;
  Interval interval;
  HF_TRY(StoredSnapshot made, engine_.CreateSnapshot(call, entry.note.peer, entry.note.collection,
                                                     entry.note.shard, interval));
  return StagedCut{.snapshot = std::move(made), .begin = interval.begin, .end = interval.end};
}

/// True when the entry's snapshot is gone for certain.
Result<bool> StagedSnapshots::Remove(const CallContext& call, const Entry& entry) {
  if (!entry.made || !entry.made->ok()) return RemoveLeftover(call, engine_, entry.note);
  HF_RETURN_IF_ERROR(engine_.DeleteSnapshot(call, (*entry.made)->snapshot));
  return true;
}

std::vector<std::string> StagedSnapshots::RemoveAll() {
  std::map<Key, std::shared_ptr<Entry>> entries;
  {
    const std::scoped_lock lock(mutex_);
    entries.swap(entries_);
  }
  std::vector<std::string> left;
  const CallContext call = clock_.Within({}, kRemovePatience);
  for (const auto& [key, entry] : entries) {
    const std::scoped_lock lock(entry->mutex);
    if (!entry->noted) continue;
    const Result<bool> removed = Remove(call, *entry);
    if (removed.ok()) {
      // Without an answer the file may appear later: the note stays, and the next run looks again.
      // A note of something that is gone is found harmless then.
      if (*removed) static_cast<void>(journal_.Removed(entry->note).ok());
      continue;
    }
    left.push_back("a snapshot of '" + entry->note.collection + "' may be left on peer " +
                   std::to_string(entry->note.peer.value()) + ": " + removed.error().message() +
                   "; the next backup tries to remove it");
  }
  return left;
}

Result<bool> RemoveLeftover(const CallContext& call, ShardSource& source, const StagedNote& note) {
  const auto there = source.ListSnapshots(call, note.peer, note.collection);
  if (!there.ok()) {
    // Gone with its collection or its peer.
    if (there.error().code() == ErrorCode::kNotFound) return false;
    return there.error();
  }
  std::vector<StoredSnapshot> ours;
  std::string others;
  for (const StoredSnapshot& snapshot : *there) {
    const bool old = std::ranges::find(note.before, snapshot.name) != note.before.end();
    if (old || !IsOf(snapshot, note)) continue;
    const bool in_time = snapshot.created_at &&
                         *snapshot.created_at >= note.asked_at - kNodeClockTolerance &&
                         *snapshot.created_at <= note.asked_at + kNodeClockTolerance;
    if (in_time) ours.push_back(snapshot);
    if (!in_time) others += " " + snapshot.name;
  }
  if (ours.size() == 1) {
    HF_RETURN_IF_ERROR(source.DeleteSnapshot(call, ours.front()));
    return true;
  }
  for (const StoredSnapshot& snapshot : ours) others += " " + snapshot.name;
  if (others.empty()) return false;
  return Error(ErrorCode::kFailedPrecondition,
               "cannot tell whether an interrupted backup left one of these:" + others,
               "delete those that are not yours");
}

}  // namespace holdfast
