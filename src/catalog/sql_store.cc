#include "catalog/sql_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <random>
#include <utility>

#include "base/assert.h"

namespace holdfast::sql {

Result<std::uint64_t> Session::Execute(std::string_view sql, const std::vector<Value>& parameters) {
  return connection_.Execute(call_, dialect_.Expand(sql), parameters);
}

Result<std::vector<Row>> Session::Query(std::string_view sql,
                                        const std::vector<Value>& parameters) {
  return connection_.Query(call_, dialect_.Expand(sql), parameters);
}

/// How an attempt ended, beside its result.
struct Store::Ending {
  Fault fault = Fault::kNone;
  /// Whether the connection can serve the next one.
  bool usable = false;
};

/// A connection on loan. Given back when it dies; thrown away unless it was said to be usable.
class Store::Borrowed {
 public:
  Borrowed(Store& store, std::unique_ptr<Connection> connection, std::uint64_t epoch)
      : store_(&store), connection_(std::move(connection)), epoch_(epoch) {}
  Borrowed(Borrowed&& other) noexcept
      : store_(std::exchange(other.store_, nullptr)),
        connection_(std::move(other.connection_)),
        epoch_(other.epoch_),
        usable_(other.usable_) {}
  Borrowed& operator=(Borrowed&&) = delete;
  ~Borrowed() {
    if (store_ != nullptr) store_->Return(std::move(connection_), epoch_, usable_);
  }

  Connection& operator*() const noexcept { return *connection_; }
  void KeepUsable() noexcept { usable_ = true; }

 private:
  Store* store_;
  std::unique_ptr<Connection> connection_;
  std::uint64_t epoch_;
  bool usable_ = false;
};

Store::Store(std::unique_ptr<Connector> connector, Clock& clock, Random& random)
    : connector_(std::move(connector)), clock_(clock), random_(random), nonce_([] {
        std::random_device device;  // tidy: allow(random-device) catalog may not use stream.
        return fmt::format("{:08x}{:08x}{:08x}", device(), device(), device());
      }()) {}

Store::~Store() { HF_ASSERT(borrowed_ == 0); }

Result<Store::Borrowed> Store::Borrow(const CallContext& call) {
  std::unique_lock lock(mutex_);
  while (borrowed_ == kConnectionsMax) {
    HF_RETURN_IF_ERROR(clock_.Check(call));
    const auto free = [&] { return borrowed_ < kConnectionsMax; };
    // A deadline is looked at again and again because the clock need not run at machine speed.
    if (call.deadline) {
      returned_.wait_for(lock, call.stop, std::chrono::milliseconds(20), free);
    } else {
      returned_.wait(lock, call.stop, free);
    }
  }
  ++borrowed_;
  const std::uint64_t epoch = epoch_;
  if (!idle_.empty()) {
    std::unique_ptr<Connection> connection = std::move(idle_.back());
    idle_.pop_back();
    return Borrowed(*this, std::move(connection), epoch);
  }
  lock.unlock();
  auto connection = connector_->Connect(call);
  if (!connection.ok()) {
    Return(nullptr, epoch, /*usable=*/true);
    return std::move(connection).error();
  }
  return Borrowed(*this, *std::move(connection), epoch);
}

void Store::Return(std::unique_ptr<Connection> connection, std::uint64_t epoch, bool usable) {
  std::vector<std::unique_ptr<Connection>> dead;
  {
    const std::scoped_lock lock(mutex_);
    --borrowed_;
    if (!usable) {
      ++epoch_;
      dead.swap(idle_);
      dead.push_back(std::move(connection));
    } else if (connection && epoch == epoch_) {
      idle_.push_back(std::move(connection));
    } else {
      dead.push_back(std::move(connection));
    }
    returned_.notify_one();
  }
}

Result<std::string> Store::Attempt(const CallContext& call, Connection& connection,
                                   std::string_view begin, const std::string& operation, bool again,
                                   const OperationBody& body, Ending& ending) {
  Session session(call, connection, dialect());
  Fault& fault = ending.fault;
  if (again && !operation.empty()) {
    auto done =
        session.Query("SELECT reply FROM holdfast_operations WHERE operation_id = ?", {operation});
    fault = connection.fault();
    if (!done.ok()) return std::move(done).error();
    if (!done->empty()) return std::get<std::string>((*done)[0][0]);
  }
  bool begun = false;
  const auto transaction = [&]() -> Result<std::string> {
    HF_RETURN_IF_ERROR(connection.Execute(call, begin, {}));
    begun = true;
    if (!operation.empty()) {
      HF_RETURN_IF_ERROR(session.Execute(
          "INSERT INTO holdfast_operations (operation_id, reply, at_us) VALUES (?, '', {now})",
          {operation}));
    }
    HF_TRY(std::string reply, body(session));
    if (!operation.empty() && !reply.empty()) {
      HF_RETURN_IF_ERROR(session.Execute(
          "UPDATE holdfast_operations SET reply = ? WHERE operation_id = ?", {reply, operation}));
    }
    HF_RETURN_IF_ERROR(connection.Execute(call, "COMMIT", {}));
    return reply;
  };
  Result<std::string> result = transaction();
  fault = connection.fault();
  if (result.ok()) {
    ending.usable = true;
  } else if (fault != Fault::kLost) {
    // Bound by nothing but the driver's own limits: a cancelled call must give its locks back too.
    ending.usable = !begun || connection.Execute({}, "ROLLBACK", {}).ok();
  }
  return result;
}

Result<std::string> Store::Run(const CallContext& call, std::string_view begin,
                               const std::string& operation, const OperationBody& body,
                               Fault* last_fault) {
  const MonotonicTime started = clock_.Monotonic();
  int conflicts = 0;
  int losses = 0;
  Duration pause_max = kConflictPauseMin;
  for (bool again = false;; again = true) {
    HF_RETURN_IF_ERROR(clock_.Check(call));
    Ending ending;
    std::optional<Error> error;
    if (auto connection = Borrow(call); !connection.ok()) {
      error = std::move(connection).error();
      ending.fault = error->code() == ErrorCode::kUnavailable ? Fault::kLost : Fault::kOther;
    } else {
      auto result = Attempt(call, **connection, begin, operation, again, body, ending);
      if (ending.usable) connection->KeepUsable();
      if (result.ok()) return result;
      error = std::move(result).error();
    }
    if (last_fault != nullptr) *last_fault = ending.fault;
    if (clock_.Monotonic() - started > kPatience) {
      return std::move(*error).As(ErrorCode::kUnavailable);
    }
    switch (ending.fault) {
      case Fault::kConflict:
      case Fault::kDuplicate:
        // A duplicate is a race too: every body looks before it inserts, and finds it next time.
        if (++conflicts > kConflictRetriesMax) {
          return std::move(*error).As(ErrorCode::kUnavailable).While("the catalog is too busy");
        }
        pause_max = std::min(pause_max * 2, kConflictPauseMax);
        break;
      case Fault::kLost:
        if (++losses > kLostRetriesMax) return *std::move(error);
        pause_max = kLostPauseMin * (1 << losses);
        break;
      default:
        return *std::move(error);
    }
    // Between half of it and all of it, so that those who collided part.
    HF_RETURN_IF_ERROR(
        clock_.SleepFor(call, Duration(random_.Between(pause_max.count() / 2, pause_max.count()))));
  }
}

Status Store::Read(const CallContext& call, const Body& body, Fault* fault) {
  return RunBody(call, dialect().begin_read(), body, fault);
}

Status Store::Write(const CallContext& call, const Body& body) {
  return RunBody(call, dialect().begin(), body, nullptr);
}

Status Store::RunBody(const CallContext& call, std::string_view begin, const Body& body,
                      Fault* last_fault) {
  const OperationBody wrapped = [&](Session& session) -> Result<std::string> {
    HF_RETURN_IF_ERROR(body(session));
    return std::string();
  };
  auto ran = Run(call, begin, "", wrapped, last_fault);
  if (!ran.ok()) return std::move(ran).error();
  return {};
}

Result<std::string> Store::Operate(const CallContext& call, const OperationBody& body) {
  bool purge = false;
  {
    const std::scoped_lock lock(mutex_);
    purge = operations_++ % kOperationsPerPurge == 0;
  }
  if (purge) HF_RETURN_IF_ERROR(Purge(call));
  return Run(call, dialect().begin(), NewId(), body, nullptr);
}

std::string Store::NewId() { return fmt::format("{}-{}", nonce_, next_id_++); }

Status Store::Purge(const CallContext& call) {
  return Write(call, [](Session& session) -> Status {
    HF_RETURN_IF_ERROR(session.Execute("DELETE FROM holdfast_operations WHERE at_us < {now} - ?",
                                       {std::int64_t{kOperationsKept.count()}}));
    return {};
  });
}

Status Store::ExecuteAlone(const CallContext& call, std::string_view sql, Fault& fault) {
  fault = Fault::kLost;
  HF_TRY(Borrowed connection, Borrow(call));
  auto result = (*connection).Execute(call, dialect().Expand(sql), {});
  fault = (*connection).fault();
  if (fault != Fault::kLost) connection.KeepUsable();
  if (!result.ok()) return std::move(result).error();
  return {};
}

}  // namespace holdfast::sql
