#include "repo/write/outbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "testing/faulty_object_store.h"
#include "testing/memory_object_store.h"
#include "testing/repo/gated_store.h"
#include "testing/repo/test_repository.h"
#include "testing/temp_folder.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using testing::FaultyObjectStore;
using testing::GatedStore;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::MemoryObjectStore;
using ::testing::SizeIs;
using testing::StoreFault;
using testing::StoreOp;

class OutboxTest : public ::testing::Test {
 protected:
  std::unique_ptr<Outbox> Start(ObjectStore& store, OutboxOptions options) {
    return *Outbox::Start(store, SystemClock(), options, [this](const Error&) { ++failures_; });
  }
  /// One pack of `size` bytes.
  void PutPack(Outbox& outbox, const std::string& key, std::size_t size = 100) {
    Bytes buffer = *outbox.TakeBuffer({});
    buffer.resize(size, std::byte{7});
    ASSERT_TRUE(outbox.PutPack(outbox.Announce(), key, std::move(buffer), {}).ok());
  }

  MemoryObjectStore memory_;
  GatedStore gated_{memory_};
  std::atomic<int> failures_ = 0;
};

TEST_F(OutboxTest, ADocumentComesAfterWhatItRefersTo) {
  gated_.Open();
  const auto outbox = Start(gated_, {.threads = 3, .buffers = 4, .buffer_bytes = 1'000});
  const ObjectNumber pack = outbox->Announce();
  const auto document = outbox->PutDocument("document", Bytes(10), pack, {});
  ASSERT_TRUE(document.ok());
  ASSERT_TRUE(outbox->PutDocument("later", Bytes(10), *document, {}).ok());
  ASSERT_TRUE(outbox->PutDocument("free", Bytes(10), 0, {}).ok());
  while (gated_.order().empty()) std::this_thread::yield();
  EXPECT_THAT(gated_.order(), ElementsAre("free"));
  ASSERT_TRUE(outbox->PutPack(pack, "pack", *outbox->TakeBuffer({}), {}).ok());
  ASSERT_TRUE(outbox->WaitUntilDurable({}).ok());
  EXPECT_THAT(gated_.order(), ElementsAre("free", "pack", "document", "later"));
  EXPECT_EQ(outbox->stats().objects, 4U);
}

TEST_F(OutboxTest, AWithdrawnObjectHoldsNothingUp) {
  gated_.Open();
  const auto outbox = Start(gated_, {.threads = 1, .buffers = 3, .buffer_bytes = 1'000});
  const ObjectNumber pack = outbox->Announce();
  ASSERT_TRUE(outbox->PutDocument("document", Bytes(10), pack, {}).ok());
  outbox->Withdraw(pack);
  ASSERT_TRUE(outbox->WaitUntilDurable({}).ok());
  EXPECT_THAT(gated_.order(), ElementsAre("document"));
}

TEST_F(OutboxTest, AStalledStoreFillsTheSpoolAndStopsNobody) {
  const testing::TempFolder folder;
  const auto outbox = Start(gated_, {.threads = 2,
                                     .buffers = 4,
                                     .buffer_bytes = 1'000,
                                     .spool_directory = folder.path(),
                                     .spool_bytes_max = 100'000});
  // Two are on their way, the rest waits in the spool.
  for (int i = 0; i < 40; ++i) PutPack(*outbox, "pack" + std::to_string(i), 1'000);
  EXPECT_GE(outbox->stats().spool_bytes_top, 30'000U);
  EXPECT_THAT(memory_.keys(), IsEmpty());
  gated_.Open();
  ASSERT_TRUE(outbox->WaitUntilDurable({}).ok());
  EXPECT_THAT(memory_.keys(), SizeIs(40));
  EXPECT_EQ(*memory_.bytes("pack17"), Bytes(1'000, std::byte{7}));
  EXPECT_EQ(outbox->stats().spool_bytes, 0U);
}

TEST_F(OutboxTest, WithoutASpoolWhoeverFillsPacksWaits) {
  const auto outbox = Start(gated_, {.threads = 1, .buffers = 3, .buffer_bytes = 1'000});
  for (int i = 0; i < 3; ++i) PutPack(*outbox, "pack" + std::to_string(i));
  const CallContext impatient{.stop = {},
                              .deadline = SystemClock().Monotonic() + std::chrono::milliseconds(1)};
  EXPECT_EQ(outbox->TakeBuffer(impatient).error().code(), ErrorCode::kDeadlineExceeded);
  gated_.Open();
  EXPECT_TRUE(outbox->TakeBuffer({}).ok());
}

TEST_F(OutboxTest, ManyWaitingDocumentsGoToTheSpoolAndAskForThePack) {
  const testing::TempFolder folder;
  gated_.Open();
  const auto outbox = Start(gated_, {.threads = 1,
                                     .buffers = 3,
                                     .buffer_bytes = 1'000,
                                     .spool_directory = folder.path(),
                                     .spool_bytes_max = 100 << 20});
  std::atomic<int> asked = 0;
  outbox->set_on_blocked([&] { ++asked; });
  const ObjectNumber pack = outbox->Announce();
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE(outbox->PutDocument("d" + std::to_string(i), Bytes(1 << 20), pack, {}).ok());
  }
  EXPECT_GT(asked.load(), 0);
  while (outbox->stats().spool_bytes < (8 << 20)) std::this_thread::yield();
  ASSERT_TRUE(outbox->PutPack(pack, "pack", *outbox->TakeBuffer({}), {}).ok());
  ASSERT_TRUE(outbox->WaitUntilDurable({}).ok());
  EXPECT_THAT(memory_.keys(), SizeIs(13));
  EXPECT_EQ(gated_.order().front(), "pack");
}

TEST_F(OutboxTest, TheFirstFailureEndsItForEverybody) {
  FaultyObjectStore faulty(memory_);
  faulty.Next(StoreOp::kPut, StoreFault::Refuse(ErrorCode::kPermissionDenied), 1, "pack1");
  const auto outbox = Start(faulty, {.threads = 1, .buffers = 3, .buffer_bytes = 1'000});
  PutPack(*outbox, "pack0");
  PutPack(*outbox, "pack1");
  const Status waited = outbox->WaitUntilDurable({});
  ASSERT_FALSE(waited.ok());
  EXPECT_EQ(waited.error().code(), ErrorCode::kPermissionDenied);
  EXPECT_THAT(waited.error().message(), HasSubstr("write pack1"));
  EXPECT_FALSE(outbox->PutDocument("document", Bytes(1), 0, {}).ok());
  EXPECT_FALSE(outbox->TakeBuffer({}).ok());
  // Told by its own thread, perhaps after whoever waited has heard.
  outbox->Stop();
  EXPECT_EQ(failures_.load(), 1);
}

TEST_F(OutboxTest, SettlesTheDebtOfWhatIsDurable) {
  gated_.Open();
  SpoolRoom room(SystemClock(), 1'000);
  const auto account = std::make_shared<RoomAccount>(room, 0, WhenFull::kFail);
  ASSERT_TRUE(account->Charge({}, 1'000).ok());
  const auto outbox = Start(gated_, {.threads = 1, .buffers = 3, .buffer_bytes = 1'000});
  ASSERT_TRUE(outbox
                  ->PutPack(outbox->Announce(), "pack", *outbox->TakeBuffer({}),
                            {{.account = account, .bytes = 1'000}})
                  .ok());
  ASSERT_TRUE(outbox->WaitUntilDurable({}).ok());
  EXPECT_TRUE(room.TryTake(1'000));
  room.Give(1'000);
}

TEST_F(OutboxTest, StoppingDropsWhatWaits) {
  const auto outbox = Start(gated_, {.threads = 2, .buffers = 4, .buffer_bytes = 1'000});
  for (int i = 0; i < 3; ++i) PutPack(*outbox, "pack" + std::to_string(i));
  outbox->Stop();
  EXPECT_THAT(memory_.keys(), IsEmpty());
  EXPECT_EQ(outbox->WaitUntilDurable({}).error().code(), ErrorCode::kCancelled);
}

}  // namespace
}  // namespace holdfast
