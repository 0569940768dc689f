// What happens when the store is slower than the streams (design.md, Capture 6).

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "repo/group_writer.h"
#include "testing/repo/gated_store.h"
#include "testing/repo/test_repository.h"
#include "testing/temp_folder.h"

namespace holdfast {
namespace {

using namespace holdfast::testing;
using ::testing::HasSubstr;

class SlowStoreTest : public ::testing::Test {
 protected:
  SlowStoreTest() {
    EXPECT_TRUE(InitRepository(memory_, Sealing::kAes256Gcm).ok());
    repository_ = *OpenRepository(store_, Sealing::kAes256Gcm);
    group_ = NextGroupId();
    intent_ =
        *Intent::Declare({}, *repository_, {.purpose = "backup", .own = group_, .relies_on = {}});
  }
  std::unique_ptr<GroupWriter> Begin(std::uint64_t spool_bytes_max) {
    return *GroupWriter::Begin({}, *repository_, *intent_, TestPool(),
                               {.group = group_,
                                .spool_directory = spool_bytes_max > 0 ? folder_.path() : "",
                                .spool_bytes_max = spool_bytes_max,
                                .upload_threads = 2});
  }

  TempFolder folder_;
  MemoryObjectStore memory_;
  /// Packs stand still until the gate opens.
  GatedStore store_{memory_, "packs/"};
  std::unique_ptr<Repository> repository_;
  GroupId group_;
  std::unique_ptr<Intent> intent_;
};

TEST_F(SlowStoreTest, TheSpoolTakesAWholeStreamWhileTheStoreStandsStill) {
  const auto writer = Begin(std::uint64_t{200} << 20);
  const TestShard shard{"shard", MakeTar({{"x", Noise(150 << 20, 1)}})};
  auto room = writer->ReserveSpool({}, shard.tar.size());
  ASSERT_TRUE(room.ok());
  {
    const auto image = *writer->BeginImage(
        {}, {.label = "shard", .room = *std::move(room), .when_full = WhenFull::kFail});
    TarReader reader(*image);
    ASSERT_TRUE(reader.Write({}, shard.tar).ok());
    ASSERT_TRUE(image->Finish({}, *reader.Finish(), Sha256Of(shard.tar), "{}").ok());
  }
  EXPECT_GT(writer->stats().spool_bytes_top, std::uint64_t{64} << 20);
  store_.Open();
  ASSERT_TRUE(writer->Commit({}, "{}").ok());
  EXPECT_TRUE(*RestoreTar(*repository_, group_, "shard") == shard.tar);
}

TEST_F(SlowStoreTest, AStreamThatOutgrowsTheRoomFailsAndIsTakenStagedLater) {
  const auto writer = Begin(std::uint64_t{32} << 20);
  const TestShard shard{"shard", MakeTar({{"x", Noise(150 << 20, 1)}})};
  {
    const auto image = *writer->BeginImage({}, {.label = "shard", .when_full = WhenFull::kFail});
    TarReader reader(*image);
    const Status written = reader.Write({}, shard.tar);
    ASSERT_FALSE(written.ok());
    EXPECT_EQ(written.error().code(), ErrorCode::kResourceExhausted);
    EXPECT_THAT(written.error().message(), HasSubstr("spool is full"));
    EXPECT_FALSE(image->OnEntryEnd({}, {}).ok());
  }
  // The same shard again, now from a file: it waits instead.
  std::jthread opener([&] {
    while (writer->stats().bytes_read < (std::uint64_t{50} << 20)) std::this_thread::yield();
    store_.Open();
  });
  ASSERT_TRUE(WriteImage(*writer, shard, WhenFull::kWait).ok());
  ASSERT_TRUE(writer->Commit({}, "{}").ok());
  EXPECT_TRUE(*RestoreTar(*repository_, group_, "shard") == shard.tar);
}

TEST_F(SlowStoreTest, WithoutASpoolAStagedImageGetsThroughAnyway) {
  const auto writer = Begin(0);
  store_.Open();
  const TestShard shard{"shard", MakeTar({{"x", Noise(200 << 20, 1)}})};
  ASSERT_TRUE(WriteImage(*writer, shard, WhenFull::kWait).ok());
  ASSERT_TRUE(writer->Commit({}, "{}").ok());
  EXPECT_TRUE(*RestoreTar(*repository_, group_, "shard") == shard.tar);
}

TEST_F(SlowStoreTest, RoomIsGivenOnceAndAgainWhenItIsFree) {
  const auto writer = Begin(std::uint64_t{64} << 20);
  EXPECT_EQ(writer->ReserveSpool({}, std::uint64_t{1} << 40).error().code(),
            ErrorCode::kResourceExhausted);
  auto first = writer->ReserveSpool({}, std::uint64_t{60} << 20);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->bytes(), std::uint64_t{60} << 20);
  const CallContext impatient{.stop = {},
                              .deadline = SystemClock().Monotonic() + std::chrono::milliseconds(1)};
  EXPECT_EQ(writer->ReserveSpool(impatient, std::uint64_t{60} << 20).error().code(),
            ErrorCode::kDeadlineExceeded);
  *first = SpoolLease();
  EXPECT_TRUE(writer->ReserveSpool(impatient, std::uint64_t{60} << 20).ok());
  // Nor does an image keep what it does not need.
  {
    const auto image = *writer->BeginImage(
        {}, {.label = "shard", .room = *writer->ReserveSpool(impatient, std::uint64_t{60} << 20)});
    EXPECT_FALSE(writer->ReserveSpool(impatient, std::uint64_t{60} << 20).ok());
  }
  EXPECT_TRUE(writer->ReserveSpool(impatient, std::uint64_t{60} << 20).ok());
}

TEST_F(SlowStoreTest, StreamsThatWaitForEachOthersRoomAllGetThrough) {
  const auto writer = Begin(0);
  store_.Open();
  std::vector<TestShard> shards;
  for (std::uint64_t i = 0; i < 6; ++i) {
    shards.push_back({"shard" + std::to_string(i), MakeTar({{"x", Noise(30 << 20, i)}})});
  }
  {
    std::vector<std::jthread> threads;
    for (const TestShard& shard : shards) {
      threads.emplace_back([&] { EXPECT_TRUE(WriteImage(*writer, shard, WhenFull::kWait).ok()); });
    }
  }
  ASSERT_TRUE(writer->Commit({}, "{}").ok());
  EXPECT_TRUE(CheckEveryGroup(*repository_).ok());
}

TEST_F(SlowStoreTest, AbandoningWakesWhoeverWaits) {
  const auto writer = Begin(0);
  std::jthread abandoner([&] {
    while (writer->stats().bytes_new < (std::uint64_t{16} << 20)) std::this_thread::yield();
    writer->Abandon();
  });
  const auto written =
      WriteImage(*writer, {"shard", MakeTar({{"x", Noise(200 << 20, 1)}})}, WhenFull::kWait);
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code(), ErrorCode::kCancelled);
  EXPECT_FALSE(writer->Commit({}, "{}").ok());
}

}  // namespace
}  // namespace holdfast
