#include "repo/intent.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <thread>

#include "exec/linked_stop.h"
#include "repo/format/document.h"
#include "repo/format/group_json.h"
#include "repo/listing.h"
#include "repo/repository.h"
#include "store/object_store.h"
#include "store/read_only_store.h"

namespace holdfast {
namespace {

constexpr std::size_t kIntentIdBytes = 16;
/// A renewal that hangs is given up in time for the next one.
constexpr Duration kRenewalTimeout = std::chrono::minutes(5);
/// How long a dying intent may take to delete its note.
constexpr Duration kFarewellTimeout = std::chrono::seconds(10);

}  // namespace

struct Intent::State {
  State(Repository& repository_in, IntentNote note_in)
      : repository(repository_in), note(std::move(note_in)) {}

  Status Write(const CallContext& call);
  void KeepRenewed(const std::stop_token& stop);

  Repository& repository;
  const IntentNote note;
  std::string key;
  std::vector<GroupId> relied_on;

  std::mutex write_mutex;  ///< One put at a time, so that none arrives after the delete.
  std::uint64_t renewals = 0;
  bool released = false;

  mutable std::mutex mutex;
  MonotonicTime renewed_at{};
  bool ended = false;
  std::jthread renewer;
};

Status Intent::State::Write(const CallContext& call) {
  const std::scoped_lock writing(write_mutex);
  if (released) return Error(ErrorCode::kAborted, fmt::format("{} was released", key));
  if (repository.read_only()) return {};
  // Counted from before the put: whoever looks at the store's time sees a later one.
  const MonotonicTime begun = repository.clock().Monotonic();
  HF_TRY(const std::string text, WriteIntent(note, renewals));
  HF_TRY(const Bytes document,
         SealDocument(repository.keys(), repository.random(), key, AsBytes(text)));
  const Status put = repository.store().Put(call, key, document, PutMode::kReplace);
  if (!put.ok()) {
    Error error = put.error().While("write the intent");
    if (error.code() != ErrorCode::kPermissionDenied) return error;
    return std::move(error).WithHint(
        "Reading a group leaves a note in the repository, so that nothing it needs is removed "
        "meanwhile: make the place writable, or set read_only = true in its section to do without");
  }
  ++renewals;
  const std::scoped_lock lock(mutex);
  renewed_at = begun;
  return {};
}

void Intent::State::KeepRenewed(const std::stop_token& stop) {
  const CallContext call{.stop = stop, .deadline = std::nullopt};
  Clock& clock = repository.clock();
  while (clock.SleepFor(call, kIntentRenewal).ok()) {
    // A failure is not lost: it shows as an intent that grows old, which Check() tells.
    static_cast<void>(Write(clock.Within(call, kRenewalTimeout)).ok());
  }
}

Intent::Intent(std::unique_ptr<State> state) : state_(std::move(state)) {}

Intent::~Intent() {
  const CallContext call{.stop = {},
                         .deadline = state_->repository.clock().Monotonic() + kFarewellTimeout};
  // What stays behind stops counting by itself.
  static_cast<void>(Release(call).ok());
}

Result<std::unique_ptr<Intent>> Intent::Declare(const CallContext& call, Repository& repository,
                                                IntentNote note) {
  if (repository.read_only() && note.own) return ReadOnlyRefusal(repository.store());
  auto state = std::make_unique<State>(repository, std::move(note));
  const auto id = repository.random().Draw<kIntentIdBytes>();
  state->key = fmt::format("{}{}", kIntentsFolder, ToHex(ByteView(id)));
  HF_RETURN_IF_ERROR(state->Write(call));
  std::unique_ptr<Intent> intent(new Intent(std::move(state)));
  // Only now: a mark set before the note was there is seen here, and who sets one later finds it.
  State& self = *intent->state_;
  for (const GroupId& group : self.note.relies_on) {
    HF_TRY(const bool forgotten, repository.IsForgotten(call, group));
    if (!forgotten) self.relied_on.push_back(group);
  }
  if (repository.read_only()) return intent;
  self.renewer = std::jthread([&self](const std::stop_token& stop) { self.KeepRenewed(stop); });
  return intent;
}

const std::vector<GroupId>& Intent::relied_on() const noexcept { return state_->relied_on; }

bool Intent::RelyOn(const GroupId& group) const noexcept {
  return std::ranges::find(state_->relied_on, group) != state_->relied_on.end();
}

const IntentNote& Intent::note() const noexcept { return state_->note; }

const std::string& Intent::key() const noexcept { return state_->key; }

Status Intent::Check() const {
  const std::scoped_lock lock(state_->mutex);
  if (state_->ended) {
    return Error(ErrorCode::kAborted, fmt::format("{} was released", state_->key));
  }
  if (state_->repository.read_only()) return {};
  const Duration age = state_->repository.clock().Monotonic() - state_->renewed_at;
  if (age <= kIntentStaleAfter) return {};
  return Error(ErrorCode::kAborted,
               fmt::format("the repository could not be written to for {}, so what this operation "
                           "relies on may be gone",
                           FormatDuration(age)),
               "Look at the store, then run the operation again");
}

Status Intent::Renew(const CallContext& call) { return state_->Write(call); }

Status Intent::Release(const CallContext& call) {
  {
    const std::scoped_lock lock(state_->mutex);
    state_->ended = true;
  }
  state_->renewer.request_stop();
  if (state_->renewer.joinable()) state_->renewer.join();
  const std::scoped_lock writing(state_->write_mutex);
  if (state_->released) return {};
  if (!state_->repository.read_only()) {
    HF_RETURN_IF_ERROR(state_->repository.store().Delete(call, state_->key));
  }
  state_->released = true;
  return {};
}

Result<std::vector<IntentInfo>> ListIntents(const CallContext& call, Repository& repository) {
  std::vector<IntentInfo> intents;
  HF_RETURN_IF_ERROR(VisitObjects(
      call, repository.store(), kIntentsFolder, [&](const StoredObject& object) -> Status {
        if (!ParseKey(object.key)) return {};
        IntentInfo intent{
            .key = object.key, .note = std::nullopt, .renewed_at = object.last_modified};
        const auto content = ReadDocument(call, repository.store(), repository.keys(), object.key);
        if (content.ok()) {
          auto note = ReadIntent(AsText(*content), object.key);
          if (note.ok()) intent.note = *std::move(note);
        } else if (content.error().code() == ErrorCode::kNotFound) {
          return {};
        } else if (content.error().code() != ErrorCode::kDataLoss) {
          return content.error();
        }
        intents.push_back(std::move(intent));
        return {};
      }));
  return intents;
}

}  // namespace holdfast
