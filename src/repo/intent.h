// A renewed note in the repository that says what a running operation relies on, so that prune
// keeps it. Safety of the repository rests on these notes and on no lock (format, section 7).

#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"

namespace holdfast {

class Repository;

/// How often an intent is renewed.
constexpr Duration kIntentRenewal = std::chrono::minutes(10);
/// Who could not renew for so long stops: an intent lives 7 days, which leaves no doubt.
constexpr Duration kIntentStaleAfter = std::chrono::hours(24);
/// How long an intent counts after its last renewal, by the store's clock.
constexpr Duration kIntentLifetime = std::chrono::hours(7 * 24);

/// What an operation says of itself.
struct IntentNote {
  /// "backup", "restore", "verify", "export", ...
  std::string purpose = {};
  /// The attempt that the operation writes; nothing for those that only read.
  std::optional<GroupId> own = {};
  /// Groups and broken attempts that it wants to rely on.
  std::vector<GroupId> relies_on = {};
};

/// A declared intent: renewed by a thread of its own until it is released or dies. Thread-safe.
class Intent {
 public:
  /// Writes the note, and only then looks which of `relies_on` are forgotten: those are dropped (a
  /// backup does without that parent; who cannot do without looks at relied_on()). `repository`
  /// must outlive the intent. Nothing is written to a read-only repository: its intent holds until
  /// it is released and protects nothing, and one with a group of its own is kPermissionDenied.
  static Result<std::unique_ptr<Intent>> Declare(const CallContext& call, Repository& repository,
                                                 IntentNote note);
  /// Stops renewing and deletes the note as well as it can be done at once.
  ~Intent();
  Intent(const Intent&) = delete;
  Intent& operator=(const Intent&) = delete;

  /// What may be relied on: those of the note that were not forgotten. Does not change.
  const std::vector<GroupId>& relied_on() const noexcept;
  bool RelyOn(const GroupId& group) const noexcept;
  const IntentNote& note() const noexcept;
  /// Object key, "intents/<32 hex>".
  const std::string& key() const noexcept;

  /// OK while the operation may go on. kAborted when the last renewal that succeeded is older than
  /// kIntentStaleAfter, or after Release: what was relied on may be gone.
  Status Check() const;

  /// Renews now, besides what the thread does. The error is the store's.
  Status Renew(const CallContext& call);

  /// Ends the intent: stops the thread and deletes the note. Idempotent. An error means that the
  /// note may stay until it is too old to count.
  Status Release(const CallContext& call);

 private:
  struct State;
  explicit Intent(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// An intent as others see it.
struct IntentInfo {
  std::string key;
  /// Nothing when the note is damaged: it then relies on who knows what.
  std::optional<IntentNote> note;
  /// Last renewal, by the store's clock.
  WallTime renewed_at{};
};

/// All intents, also those that do not count any more. One get each. An intent that disappears
/// meanwhile is left out.
Result<std::vector<IntentInfo>> ListIntents(const CallContext& call, Repository& repository);

}  // namespace holdfast
