#include "job/lease_keeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "testing/fake_clock.h"

namespace holdfast {
namespace {

using holdfast::testing::FakeClock;
using std::chrono::seconds;

constexpr Duration kTerm = seconds(30);

/// A table whose Renew does what the test says.
class ScriptedLeases final : public LeaseTable {
 public:
  Result<Lease> Acquire(const CallContext&, std::string_view, std::string_view, Duration) override {
    return Error(ErrorCode::kInternal, "not used");
  }
  Status Release(const CallContext&, const Lease&) override { return {}; }
  Result<std::optional<LeaseView>> FindLease(const CallContext&, std::string_view) override {
    return std::optional<LeaseView>();
  }
  Status Renew(const CallContext& call, const Lease&, Duration) override {
    std::unique_lock lock(mutex_);
    ++renewals_;
    changed_.notify_all();
    // Hangs, like a server that has gone silent, until the call is stopped.
    changed_.wait(lock, call.stop, [&] { return !hangs_; });
    if (call.stop.stop_requested()) return Error(ErrorCode::kCancelled, "stopped");
    if (error_) return *error_;
    return {};
  }

  void FailWith(std::optional<Error> error) {
    const std::scoped_lock lock(mutex_);
    error_ = std::move(error);
  }
  void Hang() {
    const std::scoped_lock lock(mutex_);
    hangs_ = true;
  }
  void WaitForRenewals(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return renewals_ >= count; });
  }
  int renewals() {
    const std::scoped_lock lock(mutex_);
    return renewals_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::optional<Error> error_;
  bool hangs_ = false;
  int renewals_ = 0;
};

class LeaseKeeperTest : public ::testing::Test {
 protected:
  void Start() {
    keeper_.emplace(
        leases_, clock_, Lease{.name = "l", .owner = "me", .token = 1}, kTerm, clock_.Monotonic(),
        [this](StopCause cause) {
          const std::scoped_lock lock(mutex_);
          stops_.push_back(cause);
          changed_.notify_all();
        },
        [this](std::string_view text) {
          const std::scoped_lock lock(mutex_);
          warnings_.emplace_back(text);
          changed_.notify_all();
        });
    clock_.WaitForSleepers(2);
  }

  /// Time passes in steps in which both threads get their turn.
  void Pass(Duration length) {
    for (Duration passed{}; passed < length; passed += seconds(1)) {
      clock_.Advance(seconds(1));
      // Threads that are through need not come back to sleep.
      if (stops().empty()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

  std::vector<StopCause> stops() {
    const std::scoped_lock lock(mutex_);
    return stops_;
  }
  std::vector<std::string> warnings() {
    const std::scoped_lock lock(mutex_);
    return warnings_;
  }
  void WaitForStop() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !stops_.empty(); });
  }
  void WaitForWarnings(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return warnings_.size() >= count; });
  }

  FakeClock clock_{FakeClock::Sleep::kWaits};
  ScriptedLeases leases_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<StopCause> stops_;
  std::vector<std::string> warnings_;
  std::optional<LeaseKeeper> keeper_;
};

TEST_F(LeaseKeeperTest, RenewsAfterAThirdOfTheTermAgainAndAgain) {
  Start();
  clock_.Advance(seconds(9));
  EXPECT_EQ(leases_.renewals(), 0);
  for (int i = 1; i <= 10; ++i) {
    clock_.Advance(seconds(10));
    leases_.WaitForRenewals(i);
    clock_.WaitForSleepers(2);
  }
  EXPECT_TRUE(stops().empty());
  EXPECT_TRUE(warnings().empty());
}

TEST_F(LeaseKeeperTest, ALeaseThatWasTakenStopsTheJobAtTheNextRenewal) {
  Start();
  leases_.FailWith(Error(ErrorCode::kAborted, "taken"));
  clock_.Advance(seconds(10));
  WaitForStop();
  EXPECT_THAT(stops(), ::testing::ElementsAre(StopCause::kLeaseTaken));
}

TEST_F(LeaseKeeperTest, AnUnreachableCatalogStopsTheJobBeforeTheExpiryAndNotEarlier) {
  Start();
  leases_.FailWith(Error(ErrorCode::kUnavailable, "no route"));
  clock_.Advance(seconds(10));
  WaitForWarnings(1);
  clock_.WaitForSleepers(2);
  clock_.Advance(seconds(16));
  clock_.WaitForSleepers(2);
  EXPECT_TRUE(stops().empty()) << "26 s of 30 s";
  clock_.Advance(seconds(1));
  WaitForStop();
  EXPECT_THAT(stops(), ::testing::ElementsAre(StopCause::kLeaseExpired));
  EXPECT_EQ(warnings().size(), 1U) << "said once";
  leases_.WaitForRenewals(2);
}

TEST_F(LeaseKeeperTest, ARenewalThatHangsDoesNotKeepTheJobFromBeingStopped) {
  Start();
  leases_.Hang();
  clock_.Advance(seconds(10));
  leases_.WaitForRenewals(1);
  clock_.WaitForSleepers(1);
  clock_.Advance(seconds(17));
  WaitForStop();
  EXPECT_THAT(stops(), ::testing::ElementsAre(StopCause::kLeaseExpired));
  keeper_->Stop();
}

TEST_F(LeaseKeeperTest, ACatalogThatComesBackInTimeIsForgiven) {
  Start();
  leases_.FailWith(Error(ErrorCode::kUnavailable, "no route"));
  clock_.Advance(seconds(10));
  WaitForWarnings(1);
  clock_.WaitForSleepers(2);
  leases_.FailWith(std::nullopt);
  clock_.Advance(seconds(10));
  WaitForWarnings(2);
  clock_.WaitForSleepers(2);
  EXPECT_THAT(warnings()[1], ::testing::HasSubstr("again"));
  clock_.Advance(seconds(9));
  clock_.WaitForSleepers(2);
  EXPECT_TRUE(stops().empty());
}

TEST_F(LeaseKeeperTest, AJobThatOutlivesItsLeaseIsStoppedByNothing) {
  Start();
  keeper_->Outlive();
  leases_.FailWith(Error(ErrorCode::kUnavailable, "no route"));
  Pass(seconds(60));
  leases_.FailWith(Error(ErrorCode::kAborted, "taken"));
  Pass(seconds(60));
  keeper_->Taken();
  keeper_->Stop();
  EXPECT_TRUE(stops().empty());
}

TEST_F(LeaseKeeperTest, AWriteThatWasRefusedStopsTheJobOnce) {
  Start();
  keeper_->Taken();
  keeper_->Taken();
  EXPECT_THAT(stops(), ::testing::ElementsAre(StopCause::kLeaseTaken));
  keeper_->Stop();
  keeper_->Stop();
}

}  // namespace
}  // namespace holdfast
