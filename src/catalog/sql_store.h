// Transactions that survive conflicts, lost connections and lost replies, on any driver.

#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "catalog/sql.h"

namespace holdfast::sql {

/// Most connections of one catalog; whoever needs one more waits.
constexpr std::size_t kConnectionsMax = 4;
/// How often one transaction runs again after conflicts, with pauses of up to kConflictPauseMax.
constexpr int kConflictRetriesMax = 40;
constexpr Duration kConflictPauseMin = std::chrono::milliseconds(2);
constexpr Duration kConflictPauseMax = std::chrono::milliseconds(200);
/// How often it runs again on a new connection.
constexpr int kLostRetriesMax = 4;
constexpr Duration kLostPauseMin = std::chrono::milliseconds(50);
/// No run of a transaction begins later than this after the first one.
constexpr Duration kPatience = std::chrono::seconds(60);
/// How long the outcome of a write can be looked up by its operation id.
constexpr Duration kOperationsKept = std::chrono::hours(1);
constexpr std::uint64_t kOperationsPerPurge = 256;

/// Text and parameters of statements; expands the text for the dialect. Lives for one transaction.
class Session {
 public:
  Session(const CallContext& call, Connection& connection, const Dialect& dialect)
      : call_(call), connection_(connection), dialect_(dialect) {}

  Result<std::uint64_t> Execute(std::string_view sql, const std::vector<Value>& parameters = {});
  Result<std::vector<Row>> Query(std::string_view sql, const std::vector<Value>& parameters = {});

 private:
  const CallContext& call_;
  Connection& connection_;
  const Dialect& dialect_;
};

/// Thread-safe.
class Store {
 public:
  /// Runs once for every attempt, so it sets what it captures from scratch. It returns right after
  /// a statement that failed.
  using Body = std::function<Status(Session& session)>;
  /// Returns the reply that a lost one is replaced with: at most 255 bytes.
  using OperationBody = std::function<Result<std::string>(Session& session)>;

  Store(std::unique_ptr<Connector> connector, Clock& clock, Random& random);
  ~Store();

  /// One transaction that only reads, all of it as of one instant. `fault`, when given, gets what
  /// was wrong with the last statement.
  Status Read(const CallContext& call, const Body& body, Fault* fault = nullptr);

  /// One transaction whose second run has the same effect as the first: what it writes does not
  /// depend on what was there.
  Status Write(const CallContext& call, const Body& body);

  /// One transaction that must take effect exactly once. It carries an id in a row of its own, so
  /// that after a lost reply at COMMIT its outcome is looked up; should the lost COMMIT still be
  /// under way, the row makes the second run wait for it, or fail.
  Result<std::string> Operate(const CallContext& call, const OperationBody& body);

  /// One statement outside any transaction (DDL). Not repeated; `fault` says what went wrong.
  Status ExecuteAlone(const CallContext& call, std::string_view sql, Fault& fault);

  /// Never given out before, by any process.
  std::string NewId();

  const Dialect& dialect() const noexcept { return connector_->dialect(); }
  Clock& clock() const noexcept { return clock_; }

 private:
  struct Ending;
  class Borrowed;

  Result<Borrowed> Borrow(const CallContext& call);
  void Return(std::unique_ptr<Connection> connection, std::uint64_t epoch, bool usable);
  Result<std::string> Attempt(const CallContext& call, Connection& connection,
                              std::string_view begin, const std::string& operation, bool again,
                              const OperationBody& body, Ending& ending);
  Result<std::string> Run(const CallContext& call, std::string_view begin,
                          const std::string& operation, const OperationBody& body,
                          Fault* last_fault);
  Status RunBody(const CallContext& call, std::string_view begin, const Body& body,
                 Fault* last_fault);
  Status Purge(const CallContext& call);

  const std::unique_ptr<Connector> connector_;
  Clock& clock_;
  Random& random_;
  std::mutex mutex_;
  std::condition_variable_any returned_;
  std::vector<std::unique_ptr<Connection>> idle_;
  std::size_t borrowed_ = 0;
  /// Grows when a connection was lost: the idle ones are as old and probably as dead.
  std::uint64_t epoch_ = 0;
  std::uint64_t operations_ = 0;
  /// From the operating system, not from `random_`: two processes with one seed would take each
  /// other's operations for their own, and with them a lease.
  const std::string nonce_;
  std::atomic<std::uint64_t> next_id_ = 0;
};

}  // namespace holdfast::sql
