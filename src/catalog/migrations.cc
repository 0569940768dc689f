#include "catalog/migrations.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/assert.h"

namespace holdfast::sql {
namespace {

constexpr Duration kLockPoll = std::chrono::milliseconds(100);
constexpr const char* kLockTable =
    "CREATE TABLE IF NOT EXISTS holdfast_schema_lock ("
    "id {int} NOT NULL PRIMARY KEY, owner {key:64} NOT NULL, expires_us {int} NOT NULL) {table}";
constexpr const char* kSchemaTable =
    "CREATE TABLE IF NOT EXISTS holdfast_schema ("
    "version {int} NOT NULL PRIMARY KEY, name {key:255} NOT NULL, checksum {key:16} NOT NULL, "
    "state {key:16} NOT NULL, at_us {int} NOT NULL) {table}";

enum class Mark { kStarted, kApplied };
using Marks = std::map<std::uint32_t, Mark>;

class Migrator {
 public:
  Migrator(const CallContext& call, Store& store, std::span<const Migration> migrations,
           Duration lock_term)
      : call_(call),
        store_(store),
        migrations_(migrations),
        lock_term_(lock_term),
        owner_(store.NewId()) {}

  Status Run() {
    const MonotonicTime until = store_.clock().Monotonic() + kSchemaPatience;
    while (true) {
      bool missing = false;
      HF_TRY(const Marks marks, ReadMarks(missing));
      if (!missing && AllApplied(marks)) return {};
      if (missing || !has_own_tables_) HF_RETURN_IF_ERROR(CreateOwnTables());
      HF_TRY(const bool locked, has_own_tables_ ? Lock() : Result<bool>(false));
      if (locked) {
        auto done = ApplyAll();
        // Also after an error: nobody should have to wait for the lock to expire.
        Status unlocked = Unlock();
        if (!done.ok()) return std::move(done).error();
        if (*done) return unlocked;
      } else if (store_.clock().Monotonic() > until) {
        return Error(ErrorCode::kUnavailable,
                     "another process has been at work on the catalog's schema for too long",
                     "Nothing was changed, try later.");
      }
      HF_RETURN_IF_ERROR(store_.clock().SleepFor(call_, kLockPoll));
    }
  }

 private:
  Result<Marks> ReadMarks(bool& missing) {
    std::vector<Row> rows;
    Fault fault = Fault::kNone;
    Status read = store_.Read(
        call_,
        [&](Session& session) -> Status {
          HF_TRY(rows, session.Query("SELECT version, checksum, state FROM holdfast_schema"));
          return {};
        },
        &fault);
    missing = !read.ok() && fault == Fault::kMissing;
    if (!read.ok() && !missing) return std::move(read).error();
    Marks marks;
    for (const Row& row : rows) {
      const auto version = static_cast<std::uint32_t>(std::get<std::int64_t>(row[0]));
      HF_RETURN_IF_ERROR(CheckMark(version, std::get<std::string>(row[1])));
      marks[version] = std::get<std::string>(row[2]) == "applied" ? Mark::kApplied : Mark::kStarted;
    }
    return marks;
  }

  Status CheckMark(std::uint32_t version, const std::string& checksum) const {
    if (version > migrations_.size()) {
      return Error(ErrorCode::kFailedPrecondition,
                   fmt::format("the catalog has schema {}, made by a newer holdfast; this one "
                               "knows schemas up to {}",
                               version, migrations_.size()),
                   "Use the newer holdfast, or another catalog and `holdfast catalog rebuild`.");
    }
    if (version == 0 || checksum != Checksum(migrations_[version - 1])) {
      return Error(
          ErrorCode::kFailedPrecondition,
          fmt::format("migration {} of the catalog is not the one this holdfast knows", version),
          "Use the holdfast that made the catalog, or another catalog and `holdfast "
          "catalog rebuild`.");
    }
    return {};
  }

  bool AllApplied(const Marks& marks) const {
    for (const Migration& migration : migrations_) {
      const auto mark = marks.find(migration.version);
      if (mark == marks.end() || mark->second != Mark::kApplied) return false;
    }
    return true;
  }

  Status CreateOwnTables() {
    for (const char* statement : {kLockTable, kSchemaTable}) {
      Fault fault = Fault::kNone;
      Status created = store_.ExecuteAlone(call_, statement, fault);
      if (created.ok() || fault == Fault::kExists) continue;
      // A race with another first start or a lost reply: the loop comes back here.
      if (fault == Fault::kConflict || fault == Fault::kLost) return TryAgain(std::move(created));
      return std::move(created).error().While("create the catalog's schema");
    }
    HF_RETURN_IF_ERROR(CreateLockRow());
    has_own_tables_ = true;
    return {};
  }

  Status CreateLockRow() {
    return store_.Write(call_, [&](Session& session) -> Status {
      HF_TRY(const auto rows, session.Query("SELECT id FROM holdfast_schema_lock WHERE id = 1"));
      if (!rows.empty()) return {};
      HF_RETURN_IF_ERROR(session.Execute(
          "INSERT INTO holdfast_schema_lock (id, owner, expires_us) VALUES (1, '', 0)"));
      return {};
    });
  }

  /// OK for one that may pass, at most kTriesMax times.
  Status TryAgain(Status failed) {
    if (++tries_ > kTriesMax || !store_.clock().Check(call_).ok()) return failed;
    return {};
  }

  /// The row's own count tells who got it; an owner whose reply was lost gets it again.
  Result<bool> Lock() {
    std::uint64_t locked = 0;
    HF_RETURN_IF_ERROR(store_.Write(call_, [&](Session& session) -> Status {
      HF_TRY(locked,
             session.Execute("UPDATE holdfast_schema_lock SET owner = ?, expires_us = {now} + ? "
                             "WHERE id = 1 AND (owner = ? OR expires_us <= {now})",
                             {owner_, std::int64_t{lock_term_.count()}, owner_}));
      return {};
    }));
    return locked == 1;
  }

  /// Still ours; the term starts anew.
  Result<bool> Keep() {
    std::uint64_t kept = 0;
    HF_RETURN_IF_ERROR(store_.Write(call_, [&](Session& session) -> Status {
      HF_TRY(kept, session.Execute("UPDATE holdfast_schema_lock SET expires_us = {now} + ? "
                                   "WHERE id = 1 AND owner = ?",
                                   {std::int64_t{lock_term_.count()}, owner_}));
      return {};
    }));
    return kept == 1;
  }

  Status Unlock() {
    return store_.Write(call_, [&](Session& session) -> Status {
      HF_RETURN_IF_ERROR(
          session.Execute("UPDATE holdfast_schema_lock SET owner = '', expires_us = 0 "
                          "WHERE id = 1 AND owner = ?",
                          {owner_}));
      return {};
    });
  }

  /// False when somebody else has taken the lock meanwhile, or a statement is to be tried again.
  Result<bool> ApplyAll() {
    bool missing = false;
    HF_TRY(const Marks marks, ReadMarks(missing));
    if (missing) return false;
    for (const Migration& migration : migrations_) {
      const auto mark = marks.find(migration.version);
      if (mark != marks.end() && mark->second == Mark::kApplied) continue;
      HF_TRY(const bool done, Apply(migration, /*again=*/mark != marks.end()));
      if (!done) return false;
    }
    return true;
  }

  Result<bool> Apply(const Migration& migration, bool again) {
    HF_RETURN_IF_ERROR(Set(migration, "started"));
    for (const std::string_view statement : migration.statements) {
      HF_TRY(const bool ours, Keep());
      if (!ours) return false;
      Fault fault = Fault::kNone;
      Status applied = store_.ExecuteAlone(call_, statement, fault);
      if (applied.ok()) continue;
      if (fault == Fault::kConflict || fault == Fault::kLost) {
        HF_RETURN_IF_ERROR(TryAgain(std::move(applied)));
        return false;
      }
      if (fault != Fault::kExists) {
        return std::move(applied).error().While(fmt::format(
            "bring the catalog to schema {} (\"{}\")", migration.version, migration.name));
      }
      if (again) continue;
      // Somebody who believes to have the lock has made it, or it was never ours to begin with.
      HF_TRY(const bool still_ours, Keep());
      if (!still_ours) return false;
      HF_RETURN_IF_ERROR(Forget(migration));
      return std::move(applied)
          .error()
          .As(ErrorCode::kFailedPrecondition)
          .While("the database holds tables that holdfast did not make")
          .WithHint("Give the catalog a database of its own.");
    }
    HF_RETURN_IF_ERROR(Set(migration, "applied"));
    return true;
  }

  Status Set(const Migration& migration, std::string_view state) {
    return store_.Write(call_, [&](Session& session) -> Status {
      const std::int64_t version = migration.version;
      HF_TRY(const auto updated,
             session.Execute("UPDATE holdfast_schema SET state = ?, at_us = {now} "
                             "WHERE version = ?",
                             {std::string(state), version}));
      if (updated == 1) return {};
      HF_RETURN_IF_ERROR(session.Execute(
          "INSERT INTO holdfast_schema (version, name, checksum, state, at_us) "
          "VALUES (?, ?, ?, ?, {now})",
          {version, std::string(migration.name), Checksum(migration), std::string(state)}));
      return {};
    });
  }

  /// So that the next start, too, says that the table is somebody else's.
  Status Forget(const Migration& migration) {
    return store_.Write(call_, [&](Session& session) -> Status {
      HF_RETURN_IF_ERROR(
          session.Execute("DELETE FROM holdfast_schema WHERE version = ? AND state = 'started'",
                          {std::int64_t{migration.version}}));
      return {};
    });
  }

  static constexpr int kTriesMax = 20;

  const CallContext& call_;
  Store& store_;
  const std::span<const Migration> migrations_;
  const Duration lock_term_;
  const std::string owner_;
  int tries_ = 0;
  bool has_own_tables_ = false;
};

}  // namespace

std::string Checksum(const Migration& migration) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const std::string_view statement : migration.statements) {
    for (const char c : statement) {
      hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    }
    hash = (hash ^ 0) * 0x100000001b3;
  }
  return fmt::format("{:016x}", hash);
}

Status Migrate(const CallContext& call, Store& store, std::span<const Migration> migrations,
               Duration lock_term) {
  for (std::size_t i = 0; i < migrations.size(); ++i) HF_ASSERT(migrations[i].version == i + 1);
  return Migrator(call, store, migrations, lock_term).Run();
}

}  // namespace holdfast::sql
