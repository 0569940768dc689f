#include "engine/qdrant/image/id_sorter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "testing/temp_folder.h"

namespace holdfast::qdrant {
namespace {

using ::testing::ElementsAre;

PointId Number(std::uint64_t number) { return PointId::OfNumber(number); }

PointId Uuid(std::uint8_t first, std::uint8_t last) {
  PointId id{.is_uuid = true};
  id.uuid.front() = std::byte{first};
  id.uuid.back() = std::byte{last};
  return id;
}

bool AllLoaded(std::uint32_t, std::uint32_t) { return true; }

std::vector<std::string> LiveIds(IdSorter& sorter,
                                 const std::function<bool(std::uint32_t, std::uint32_t)>& loaded) {
  std::vector<std::string> ids;
  const Status visited = sorter.Visit(loaded, [&](const PointId& id) -> Status {
    ids.push_back(FormatPointId(id));
    return {};
  });
  EXPECT_TRUE(visited.ok());
  return ids;
}

class IdSorterTest : public ::testing::Test {
 protected:
  testing::TempFolder folder_;
  IdSorter sorter_{folder_.path().string()};
};

TEST_F(IdSorterTest, TheLastWordOfASegmentCounts) {
  ASSERT_TRUE(sorter_.AddLive(0, Number(5), 0).ok());
  ASSERT_TRUE(sorter_.AddDeleted(0, Number(5)).ok());
  ASSERT_TRUE(sorter_.AddLive(0, Number(6), 1).ok());
  ASSERT_TRUE(sorter_.AddDeleted(0, Number(6)).ok());
  ASSERT_TRUE(sorter_.AddLive(0, Number(6), 2).ok());
  EXPECT_THAT(LiveIds(sorter_, AllLoaded), ElementsAre("6"));
}

TEST_F(IdSorterTest, ADeleteInOneSegmentSaysNothingAboutAnother) {
  ASSERT_TRUE(sorter_.AddLive(0, Number(5), 0).ok());
  ASSERT_TRUE(sorter_.AddLive(1, Number(5), 0).ok());
  ASSERT_TRUE(sorter_.AddDeleted(1, Number(5)).ok());
  ASSERT_TRUE(sorter_.AddLive(1, Number(5), 1).ok());
  ASSERT_TRUE(sorter_.AddDeleted(0, Number(5)).ok());
  EXPECT_THAT(LiveIds(sorter_, AllLoaded), ElementsAre("5"));
}

TEST_F(IdSorterTest, APointInTwoSegmentsComesOnce) {
  ASSERT_TRUE(sorter_.AddLive(0, Number(5), 0).ok());
  ASSERT_TRUE(sorter_.AddLive(1, Number(5), 0).ok());
  EXPECT_THAT(LiveIds(sorter_, AllLoaded), ElementsAre("5"));
}

TEST_F(IdSorterTest, NumbersComeBeforeUuids) {
  ASSERT_TRUE(sorter_.AddLive(0, Uuid(1, 0), 0).ok());
  ASSERT_TRUE(sorter_.AddLive(0, Uuid(0, 9), 1).ok());
  ASSERT_TRUE(sorter_.AddLive(0, Number(~std::uint64_t{0}), 2).ok());
  ASSERT_TRUE(sorter_.AddLive(0, Number(0), 3).ok());
  EXPECT_THAT(LiveIds(sorter_, AllLoaded),
              ElementsAre("0", "18446744073709551615", "\"00000000-0000-0000-0000-000000000009\"",
                          "\"01000000-0000-0000-0000-000000000000\""));
}

TEST_F(IdSorterTest, PlacesThatTheServerDropsAtLoadAreNotLive) {
  ASSERT_TRUE(sorter_.AddLive(0, Number(5), 10).ok());
  ASSERT_TRUE(sorter_.AddLive(0, Number(6), 9).ok());
  EXPECT_THAT(LiveIds(sorter_, [](std::uint32_t, std::uint32_t offset) { return offset < 10; }),
              ElementsAre("6"));
}

TEST_F(IdSorterTest, AnErrorOfTheVisitorEndsTheVisit) {
  ASSERT_TRUE(sorter_.AddLive(0, Number(5), 0).ok());
  ASSERT_TRUE(sorter_.AddLive(0, Number(6), 1).ok());
  int visits = 0;
  const Status visited = sorter_.Visit(AllLoaded, [&](const PointId&) -> Status {
    ++visits;
    return Error(ErrorCode::kCancelled, "enough");
  });
  ASSERT_FALSE(visited.ok());
  EXPECT_EQ(visited.error().code(), ErrorCode::kCancelled);
  EXPECT_EQ(visits, 1);
}

// The same changes through many small runs in the file and through a map in memory.
TEST_F(IdSorterTest, RunsInTheFileGiveWhatMemoryGives) {
  for (const std::size_t buffer : {80U, 400U, 4000U, 1U << 20}) {
    Random random(buffer);
    IdSorter sorter(folder_.path().string(), buffer);
    std::map<std::pair<PointId, std::uint32_t>, bool> expected;
    for (int i = 0; i < 3000; ++i) {
      const PointId id = random.Next() % 2 == 0
                             ? Number(random.Next() % 200)
                             : Uuid(static_cast<std::uint8_t>(random.Next() % 20),
                                    static_cast<std::uint8_t>(random.Next() % 20));
      const auto segment = static_cast<std::uint32_t>(random.Next() % 3);
      const bool live = random.Next() % 3 != 0;
      ASSERT_TRUE((live ? sorter.AddLive(segment, id, 0) : sorter.AddDeleted(segment, id)).ok());
      expected[{id, segment}] = live;
    }
    std::set<PointId> live_ids;
    for (const auto& [key, live] : expected) {
      if (live) live_ids.insert(key.first);
    }
    std::vector<std::string> texts;
    for (const PointId& id : live_ids) texts.push_back(FormatPointId(id));
    EXPECT_EQ(LiveIds(sorter, AllLoaded), texts);
    EXPECT_EQ(LiveIds(sorter, AllLoaded), texts) << "the second visit";
  }
}

TEST(IdSorterFailureTest, AFolderThatIsNotThereIsNamed) {
  IdSorter sorter("/nonexistent/spool", 80);
  ASSERT_TRUE(sorter.AddLive(0, Number(1), 0).ok());
  ASSERT_TRUE(sorter.AddLive(0, Number(2), 0).ok());
  const Status added = sorter.AddLive(0, Number(3), 0);
  ASSERT_FALSE(added.ok());
  EXPECT_EQ(added.error().code(), ErrorCode::kUnavailable);
  EXPECT_THAT(added.error().message(), ::testing::HasSubstr("/nonexistent/spool"));
}

}  // namespace
}  // namespace holdfast::qdrant
