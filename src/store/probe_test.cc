#include "store/probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "store/directory_store.h"
#include "store/forwarding_store.h"
#include "testing/fake_clock.h"
#include "testing/faulty_object_store.h"
#include "testing/memory_object_store.h"
#include "testing/temp_folder.h"

namespace holdfast {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::StoreFault;
using testing::StoreOp;

class ProbeStoreTest : public ::testing::Test {
 protected:
  StoreReport Probed() {
    auto report = ProbeStore({}, faulty_, clock_, KernelRandom());
    EXPECT_TRUE(report.ok());
    return report.ok() ? *std::move(report) : StoreReport();
  }

  /// The names of what does not hold.
  static std::vector<std::string> Failed(const StoreReport& report) {
    std::vector<std::string> names;
    for (const StoreFinding& finding : report.findings) {
      EXPECT_EQ(finding.ok, finding.detail.empty()) << finding.what << ": " << finding.detail;
      if (!finding.ok) names.push_back(finding.what);
    }
    return names;
  }

  testing::FakeClock clock_;
  testing::MemoryObjectStore memory_{clock_};
  testing::FaultyObjectStore faulty_{memory_, clock_};
};

TEST_F(ProbeStoreTest, AGoodStoreIsUsableAndLeftAsItWas) {
  ASSERT_TRUE(memory_.Put({}, "groups/g", ToBytes(AsBytes("x")), PutMode::kReplace).ok());

  const StoreReport report = Probed();

  EXPECT_TRUE(report.usable());
  EXPECT_THAT(Failed(report), IsEmpty());
  EXPECT_EQ(report.findings.size(), 9U);
  EXPECT_THAT(memory_.keys(), ElementsAre("groups/g"));
}

TEST_F(ProbeStoreTest, ADirectoryHasNothingNewInItAfterwards) {
  const testing::TempFolder folder;
  const auto store = DirectoryStore::Open(clock_, folder.path().string());
  ASSERT_TRUE(store.ok());

  const auto report = ProbeStore({}, **store, clock_, KernelRandom());

  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->usable());
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    EXPECT_EQ(entry.path().filename(), ".holdfast-tmp");
  }
}

TEST_F(ProbeStoreTest, NothingIsTriedAfterARefusedWrite) {
  faulty_.Next(StoreOp::kPut, StoreFault::Refuse(ErrorCode::kPermissionDenied));

  const StoreReport report = Probed();

  EXPECT_FALSE(report.usable());
  EXPECT_THAT(Failed(report), ElementsAre("write"));
  EXPECT_EQ(report.findings.size(), 1U);
  EXPECT_EQ(faulty_.calls(StoreOp::kGet), 0U);
}

TEST_F(ProbeStoreTest, EveryLieIsNamed) {
  // Gets: whole, range, after replace, after delete.
  faulty_.Next(StoreOp::kGet, StoreFault::FlipBit(9));
  EXPECT_THAT(Failed(Probed()), ElementsAre("read"));
  faulty_.AtCall(faulty_.calls() + 2, StoreFault::Shorten(2));
  EXPECT_THAT(Failed(Probed()), ElementsAre("ranged_read"));
  faulty_.Next(StoreOp::kPut, StoreFault::Shorten(9));
  EXPECT_THAT(Failed(Probed()), ElementsAre("read", "stat"));
  EXPECT_THAT(memory_.keys(), IsEmpty());
}

TEST_F(ProbeStoreTest, RightsThatAreMissingAreNamed) {
  faulty_.Next(StoreOp::kList, StoreFault::Refuse(ErrorCode::kPermissionDenied), 2);
  faulty_.Next(StoreOp::kStat, StoreFault::Refuse(ErrorCode::kPermissionDenied));

  EXPECT_THAT(Failed(Probed()), ElementsAre("stat", "list_after_write", "list_after_delete"));
  EXPECT_THAT(memory_.keys(), IsEmpty());
}

TEST_F(ProbeStoreTest, AnObjectThatCannotBeDeletedIsNamed) {
  // Both in the probe itself and when it cleans up.
  faulty_.Next(StoreOp::kDelete, StoreFault::Refuse(ErrorCode::kPermissionDenied), 3);

  const StoreReport report = Probed();

  ASSERT_THAT(Failed(report), ElementsAre("delete"));
  ASSERT_EQ(memory_.keys().size(), 2U);
  EXPECT_THAT(report.findings.back().detail,
              AllOf(HasSubstr(memory_.keys().at(0)), HasSubstr("left behind")));
}

TEST_F(ProbeStoreTest, AStoreWithoutConditionalPutsIsUsable) {
  /// Overwrites whatever it is asked.
  class Careless final : public ForwardingStore {
   public:
    using ForwardingStore::ForwardingStore;
    Status Put(const CallContext& call, std::string_view key, const ObjectBody& body,
               PutMode) override {
      return base_.Put(call, key, body, PutMode::kReplace);
    }
  } careless(memory_);

  const auto report = ProbeStore({}, careless, clock_, KernelRandom());

  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->usable());
  EXPECT_THAT(Failed(*report), ElementsAre("conditional_put"));
}

TEST_F(ProbeStoreTest, AStopCleansUpFirst) {
  std::stop_source stop;
  faulty_.Next(StoreOp::kList, StoreFault::Do([&] { stop.request_stop(); }));

  const auto report =
      ProbeStore({.stop = stop.get_token(), .deadline = {}}, faulty_, clock_, KernelRandom());

  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code(), ErrorCode::kCancelled);
  EXPECT_THAT(memory_.keys(), IsEmpty());
}

}  // namespace
}  // namespace holdfast
