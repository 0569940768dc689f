#include "engine/qdrant/image/id_tracker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "testing/temp_folder.h"

namespace holdfast::qdrant {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kUuidLow = 0x0807060504030201;

// Entries of the formats, written by hand as the server's source says.
Bytes LogNumber(std::uint8_t type, std::uint64_t number) {
  Bytes entry{std::byte{type}};
  AppendU64(entry, number);
  return entry;
}

Bytes Insert(std::uint64_t number, std::uint32_t offset) {
  Bytes entry = LogNumber(1, number);
  AppendU32(entry, offset);
  return entry;
}

Bytes InsertUuid(std::uint64_t low, std::uint32_t offset) {
  Bytes entry{std::byte{2}};
  AppendU64(entry, low);
  AppendU64(entry, 0);
  AppendU32(entry, offset);
  return entry;
}

Bytes Delete(std::uint64_t number) { return LogNumber(3, number); }

Bytes DeleteUuid(std::uint64_t low) {
  Bytes entry{std::byte{4}};
  AppendU64(entry, low);
  AppendU64(entry, 0);
  return entry;
}

Bytes ListNumber(std::uint64_t number, std::uint32_t offset) {
  Bytes entry = LogNumber(0, number);
  AppendU32(entry, offset);
  return entry;
}

Bytes ListUuid(std::uint64_t low, std::uint32_t offset) {
  Bytes entry = InsertUuid(low, offset);
  entry.front() = std::byte{1};
  return entry;
}

Bytes Join(const std::vector<Bytes>& parts) {
  Bytes all;
  for (const Bytes& part : parts) Append(all, part);
  return all;
}

Bytes List(std::uint64_t count, const std::vector<Bytes>& entries) {
  Bytes list;
  AppendU64(list, count);
  Append(list, Join(entries));
  return list;
}

class IdTrackersTest : public ::testing::Test {
 protected:
  void File(std::uint32_t segment, std::string_view name, const Bytes& content,
            std::size_t slice = 5) {
    ASSERT_TRUE(trackers_.BeginFile(segment, name, content.size())) << name;
    for (std::size_t at = 0; at < content.size(); at += slice) {
      const ByteView piece = ByteView(content).subspan(at, std::min(slice, content.size() - at));
      ASSERT_TRUE(trackers_.Data(at, piece).ok());
    }
    ASSERT_TRUE(trackers_.EndFile().ok());
  }

  void Versions(std::uint32_t segment, std::string_view name, std::size_t count) {
    File(segment, name, Bytes(count * 8));
  }

  std::vector<std::string> Ids() {
    EXPECT_TRUE(trackers_.Finish([]() -> Status { return {}; }).ok());
    std::vector<std::string> ids;
    EXPECT_TRUE(trackers_
                    .Visit([&](const PointId& id) -> Status {
                      ids.push_back(FormatPointId(id));
                      return {};
                    })
                    .ok());
    return ids;
  }

  std::string Unknown() {
    EXPECT_TRUE(trackers_.Finish([]() -> Status { return {}; }).ok());
    return trackers_.unknown();
  }

  testing::TempFolder folder_;
  IdTrackers trackers_{folder_.path().string(), 200};
};

TEST_F(IdTrackersTest, TheLogIsReplayed) {
  File(0, "mutable_id_tracker.mappings",
       Join({Insert(17, 0), InsertUuid(kUuidLow, 1), Insert(18, 2), Delete(17), Insert(17, 3),
             Delete(18), InsertUuid(5, 4), DeleteUuid(5)}));
  Versions(0, "mutable_id_tracker.versions", 5);
  trackers_.EndSegment(0, "0.6.0");
  EXPECT_THAT(Ids(), ElementsAre("17", "\"01020304-0506-0708-0000-000000000000\""));
}

TEST_F(IdTrackersTest, AnEntryThatBreaksOffAtTheEndIsIgnored) {
  Bytes log = Join({Insert(17, 0), Insert(18, 1)});
  log.resize(log.size() - 3);
  File(0, "mutable_id_tracker.mappings", log);
  Versions(0, "mutable_id_tracker.versions", 2);
  trackers_.EndSegment(0, "0.6.0");
  EXPECT_THAT(Ids(), ElementsAre("17"));
}

TEST_F(IdTrackersTest, PointsWithoutAVersionAreDroppedAsTheServerDoes) {
  File(0, "mutable_id_tracker.mappings", Join({Insert(17, 0), Insert(18, 1)}));
  Versions(0, "mutable_id_tracker.versions", 1);
  trackers_.EndSegment(0, "0.6.0");
  EXPECT_THAT(Ids(), ElementsAre("17"));
}

TEST_F(IdTrackersTest, TheListIsJoinedWithItsDeletedMapInEitherOrder) {
  const Bytes list =
      List(10, {ListNumber(100, 0), ListNumber(101, 1), ListUuid(kUuidLow, 2), ListNumber(103, 3),
                ListNumber(104, 4), ListNumber(105, 5), ListNumber(106, 6), ListNumber(107, 7),
                ListNumber(108, 8), ListNumber(109, 9)});
  // Entries 1 and 9 are deleted: bit 1 of byte 0, bit 1 of byte 1. Padded to a word of 8 bytes.
  Bytes deleted(8);
  deleted[0] = std::byte{0b0000'0010};
  deleted[1] = std::byte{0b0000'0010};
  File(0, "id_tracker.mappings", list);
  File(0, "id_tracker.deleted", deleted);
  Versions(0, "id_tracker.versions", 10);
  File(1, "id_tracker.deleted", Bytes(8));
  File(1, "id_tracker.mappings", List(1, {ListNumber(101, 0)}));
  Versions(1, "id_tracker.versions", 1);
  trackers_.EndSegment(0, "0.6.0");
  trackers_.EndSegment(1, "0.6.0");
  EXPECT_THAT(Ids(), ElementsAre("100", "101", "103", "104", "105", "106", "107", "108",
                                 "\"01020304-0506-0708-0000-000000000000\""));
}

TEST_F(IdTrackersTest, HolesOfTheDeletedMapAreZeros) {
  ASSERT_TRUE(trackers_.BeginFile(0, "id_tracker.deleted", 4096));
  Bytes tail{std::byte{1}};
  ASSERT_TRUE(trackers_.Data(1, tail).ok());  // Entry 8.
  ASSERT_TRUE(trackers_.EndFile().ok());
  std::vector<Bytes> entries;
  for (std::uint32_t i = 0; i < 9; ++i) entries.push_back(ListNumber(i, i));
  File(0, "id_tracker.mappings", List(9, entries));
  Versions(0, "id_tracker.versions", 9);
  trackers_.EndSegment(0, "0.6.0");
  EXPECT_THAT(Ids(), ElementsAre("0", "1", "2", "3", "4", "5", "6", "7"));
}

TEST_F(IdTrackersTest, ANewSegmentHasNoTrackerAndNoPoints) {
  EXPECT_FALSE(trackers_.BeginFile(0, "whatever.dat", 5));
  trackers_.EndSegment(0, "0.6.0");
  EXPECT_THAT(Ids(), IsEmpty());
  EXPECT_EQ(trackers_.unknown(), "");
}

TEST_F(IdTrackersTest, ASegmentOfAnotherFormatWithoutAKnownTrackerIsUnknownNotEmpty) {
  trackers_.EndSegment(0, "0.7.0");
  EXPECT_THAT(Unknown(), HasSubstr("format version 0.7.0"));
}

TEST_F(IdTrackersTest, ATrackerOfAnotherNameIsUnknown) {
  EXPECT_TRUE(trackers_.BeginFile(0, "id_tracker.v2", 5));
  trackers_.EndSegment(0, "0.6.0");
  EXPECT_THAT(Unknown(), HasSubstr("'id_tracker.v2'"));
}

TEST_F(IdTrackersTest, AnEntryOfAnotherTypeIsUnknown) {
  File(0, "mutable_id_tracker.mappings", Join({Insert(17, 0), Bytes{std::byte{5}}, Insert(18, 1)}));
  Versions(0, "mutable_id_tracker.versions", 2);
  trackers_.EndSegment(0, "0.6.0");
  EXPECT_THAT(Unknown(), HasSubstr("unknown type"));
}

TEST_F(IdTrackersTest, AListThatPromisesMoreThanItHasIsUnknown) {
  for (const std::uint64_t count : {std::uint64_t{2}, ~std::uint64_t{0}}) {
    IdTrackers trackers(folder_.path().string());
    const Bytes list = List(count, {ListNumber(1, 0)});
    ASSERT_TRUE(trackers.BeginFile(0, "id_tracker.mappings", list.size()));
    ASSERT_TRUE(trackers.Data(0, list).ok());
    ASSERT_TRUE(trackers.EndFile().ok());
    ASSERT_TRUE(trackers.BeginFile(0, "id_tracker.deleted", 8));
    ASSERT_TRUE(trackers.EndFile().ok());
    trackers.EndSegment(0, "0.6.0");
    ASSERT_TRUE(trackers.Finish([]() -> Status { return {}; }).ok());
    EXPECT_THAT(trackers.unknown(), HasSubstr("ends early"));
  }
}

TEST_F(IdTrackersTest, HalfATrackerIsUnknown) {
  File(0, "id_tracker.mappings", List(1, {ListNumber(1, 0)}));
  trackers_.EndSegment(0, "0.6.0");
  EXPECT_THAT(Unknown(), HasSubstr("not complete"));
}

TEST_F(IdTrackersTest, TwoTrackersInOneSegmentAreUnknown) {
  File(0, "id_tracker.mappings", List(1, {ListNumber(1, 0)}));
  File(0, "id_tracker.deleted", Bytes(8));
  File(0, "mutable_id_tracker.mappings", Insert(17, 0));
  trackers_.EndSegment(0, "0.6.0");
  EXPECT_THAT(Unknown(), HasSubstr("two id trackers"));
}

TEST_F(IdTrackersTest, AListWithAHoleIsUnknown) {
  ASSERT_TRUE(trackers_.BeginFile(0, "mutable_id_tracker.mappings", 1 << 20));
  ASSERT_TRUE(trackers_.Data(512, Insert(17, 0)).ok());
  ASSERT_TRUE(trackers_.EndFile().ok());
  trackers_.EndSegment(0, "0.6.0");
  EXPECT_THAT(Unknown(), HasSubstr("hole"));
}

}  // namespace
}  // namespace holdfast::qdrant
