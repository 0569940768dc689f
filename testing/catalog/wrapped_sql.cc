#include "testing/catalog/wrapped_sql.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <optional>
#include <utility>

namespace holdfast::testing {
namespace {

using sql::Connection;
using sql::Connector;
using sql::Dialect;
using sql::Fault;
using sql::Row;
using sql::Value;

constexpr std::size_t kTidbRowBytesMax = 6'291'456;

constexpr std::array<std::string_view, 12> kRefused = {"SKIP LOCKED",
                                                       "RETURNING",
                                                       "GET_LOCK",
                                                       "RELEASE_LOCK",
                                                       "ON DUPLICATE KEY",
                                                       "ON CONFLICT",
                                                       "REPLACE INTO",
                                                       "LOCK TABLES",
                                                       "SAVEPOINT",
                                                       "CREATE TRIGGER",
                                                       "@@TRANSACTION_ISOLATION",
                                                       "@@TX_ISOLATION"};

std::string Upper(std::string_view text) {
  std::string out;
  for (const char c : text) {
    out += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return out;
}

class TidbConnection final : public Connection {
 public:
  explicit TidbConnection(std::unique_ptr<Connection> inner) : inner_(std::move(inner)) {}

  Result<std::uint64_t> Execute(const CallContext& call, std::string_view sql,
                                std::span<const Value> parameters) override {
    HF_RETURN_IF_ERROR(Check(sql, parameters));
    return inner_->Execute(call, sql, parameters);
  }
  Result<std::vector<Row>> Query(const CallContext& call, std::string_view sql,
                                 std::span<const Value> parameters) override {
    HF_RETURN_IF_ERROR(Check(sql, parameters));
    return inner_->Query(call, sql, parameters);
  }
  Fault fault() const noexcept override { return refused_ ? Fault::kOther : inner_->fault(); }

 private:
  Status Check(std::string_view sql, std::span<const Value> parameters) {
    refused_ = true;
    const std::string upper = Upper(sql);
    for (const std::string_view word : kRefused) {
      if (upper.find(word) != std::string::npos) {
        return Error(ErrorCode::kUnsupported, fmt::format("TiDB has no {}: {}", word, sql));
      }
    }
    std::size_t bytes = sql.size();
    for (const Value& value : parameters) {
      if (const auto* text = std::get_if<std::string>(&value)) bytes += text->size();
    }
    if (bytes > kTidbRowBytesMax) {
      return Error(ErrorCode::kUnsupported,
                   fmt::format("8025 entry too large, the max entry size is {}, the size of data "
                               "is {}",
                               kTidbRowBytesMax, bytes));
    }
    refused_ = false;
    return {};
  }

  const std::unique_ptr<Connection> inner_;
  bool refused_ = false;
};

class TidbConnector final : public Connector {
 public:
  explicit TidbConnector(std::unique_ptr<Connector> inner) : inner_(std::move(inner)) {}
  const Dialect& dialect() const noexcept override { return inner_->dialect(); }
  Result<std::unique_ptr<Connection>> Connect(const CallContext& call) override {
    HF_TRY(auto connection, inner_->Connect(call));
    return std::unique_ptr<Connection>(std::make_unique<TidbConnection>(std::move(connection)));
  }

 private:
  const std::unique_ptr<Connector> inner_;
};

}  // namespace

class FaultyConnection final : public Connection {
 public:
  FaultyConnection(std::unique_ptr<Connection> inner, std::shared_ptr<SqlFaults> faults)
      : inner_(std::move(inner)), faults_(std::move(faults)) {}

  Result<std::uint64_t> Execute(const CallContext& call, std::string_view sql,
                                std::span<const Value> parameters) override {
    return Pass<std::uint64_t>([&] { return inner_->Execute(call, sql, parameters); });
  }
  Result<std::vector<Row>> Query(const CallContext& call, std::string_view sql,
                                 std::span<const Value> parameters) override {
    return Pass<std::vector<Row>>([&] { return inner_->Query(call, sql, parameters); });
  }
  Fault fault() const noexcept override {
    if (injected_) return *injected_;
    return inner_ ? inner_->fault() : Fault::kLost;
  }

 private:
  template <class T, class F>
  Result<T> Pass(F statement) {
    injected_.reset();
    if (!inner_) {
      injected_ = Fault::kLost;
      return Error(ErrorCode::kUnavailable, "injected: the connection is gone");
    }
    SqlFaults::Kind kind;
    if (!faults_->Next(kind)) return statement();
    if (kind == SqlFaults::Kind::kConflict) {
      // As after a deadlock: the server has rolled back.
      (void)inner_->Execute({}, "ROLLBACK", {});
      injected_ = Fault::kConflict;
      return Error(ErrorCode::kUnavailable, "injected: deadlock");
    }
    if (kind == SqlFaults::Kind::kLostAfter) {
      // A statement that fails by itself fails as it would.
      auto result = statement();
      if (!result.ok() && inner_->fault() != Fault::kNone) return result;
    }
    inner_.reset();
    injected_ = Fault::kLost;
    return Error(ErrorCode::kUnavailable, "injected: lost connection to the server");
  }

  std::unique_ptr<Connection> inner_;
  const std::shared_ptr<SqlFaults> faults_;
  std::optional<Fault> injected_;
};

class FaultyConnector final : public Connector {
 public:
  FaultyConnector(std::unique_ptr<Connector> inner, std::shared_ptr<SqlFaults> faults)
      : inner_(std::move(inner)), faults_(std::move(faults)) {}
  const Dialect& dialect() const noexcept override { return inner_->dialect(); }
  Result<std::unique_ptr<Connection>> Connect(const CallContext& call) override {
    SqlFaults::Kind kind;
    if (faults_->Next(kind)) return Error(ErrorCode::kUnavailable, "injected: cannot connect");
    HF_TRY(auto connection, inner_->Connect(call));
    return std::unique_ptr<Connection>(
        std::make_unique<FaultyConnection>(std::move(connection), faults_));
  }

 private:
  const std::unique_ptr<Connector> inner_;
  const std::shared_ptr<SqlFaults> faults_;
};

void SqlFaults::Fail(std::uint64_t statement, Kind kind, Span span) {
  const std::scoped_lock lock(mutex_);
  statements_ = 0;
  fail_at_ = statement;
  kind_ = kind;
  span_ = span;
  met_ = false;
}

void SqlFaults::Heal() {
  const std::scoped_lock lock(mutex_);
  fail_at_ = 0;
}

std::uint64_t SqlFaults::statements() const {
  const std::scoped_lock lock(mutex_);
  return statements_;
}

bool SqlFaults::met() const {
  const std::scoped_lock lock(mutex_);
  return met_;
}

bool SqlFaults::Next(Kind& kind) {
  const std::scoped_lock lock(mutex_);
  ++statements_;
  if (fail_at_ == 0) return false;
  const bool hit = span_ == Span::kOnce ? statements_ == fail_at_ : statements_ >= fail_at_;
  if (!hit) return false;
  met_ = true;
  if (kind_ == Kind::kKill) ::kill(::getpid(), SIGKILL);
  kind = kind_;
  return true;
}

std::unique_ptr<Connector> RefuseWhatTidbLacks(std::unique_ptr<Connector> connector) {
  return std::make_unique<TidbConnector>(std::move(connector));
}

std::unique_ptr<Connector> FailOnDemand(std::unique_ptr<Connector> connector,
                                        std::shared_ptr<SqlFaults> faults) {
  return std::make_unique<FaultyConnector>(std::move(connector), std::move(faults));
}

}  // namespace holdfast::testing
