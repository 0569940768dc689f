#include "ops/points/image_points.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "stream/digest.h"
#include "testing/paths.h"
#include "testing/repo/test_repository.h"
#include "testing/stream/tar_tools.h"
#include "testing/temp_folder.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

/// Python with the packages of the tests; empty where there is none.
std::string Python() {
  const char* const given = std::getenv("HOLDFAST_PYTHON");
  const char* const home = std::getenv("HOME");
  for (const std::string& path :
       {std::string(given == nullptr ? "" : given),
        std::string(home == nullptr ? "" : home) + "/.cache/holdfast/venv/bin/python"}) {
    if (std::filesystem::exists(path)) return path;
  }
  return {};
}

class ImagePointsTest : public ::testing::Test {
 protected:
  ImagePointsTest() : repository_(testing::NewRepository(store_, Sealing::kAes256Gcm)) {
    options_.scratch_directory = scratch_.path();
    options_.engine.environment = {"PATH=/usr/bin:/bin"};
    log_ = (logs_.path() / "log").string();
    Fake({});
  }

  /// An engine that has these points in every image, and more arguments.
  void Fake(std::vector<std::string> arguments) {
    options_.engine.command = {"python3",
                               (testing::SourceDir() / "testing/engine/fake_engine.py").string(),
                               "--log", log_};
    for (std::string& argument : arguments) {
      options_.engine.command.push_back(std::move(argument));
    }
  }

  /// Stores the tar as shard `shard`, with ids that are no longer there.
  void Hold(std::uint32_t shard, const Bytes& tar,
            const std::vector<std::string>& tombstones = {}) {
    testing::TestBackup backup;
    backup.shards = {{"shard", tar}};
    std::string file;
    backup.before_commit = [&](GroupWriter& writer) -> Status {
      std::string text;
      for (const std::string& id : tombstones) text += id + "\n";
      const ByteView bytes = AsBytes(text);
      BytesSource source(bytes);
      HF_TRY(const auto put, writer.PutFile({}, "tombstones", source));
      file = put.key;
      return {};
    };
    const auto made = testing::Backup(*repository_, backup);
    ASSERT_TRUE(made.ok()) << made.error().ToString();
    const auto envelope = *repository_->ReadManifest({}, made->group);
    ShardImage image;
    image.shard = ShardId(shard);
    image.image = envelope.images[0].key;
    image.tar_bytes = tar.size();
    image.tar_sha256 = ToHex(Sha256Of(tar));
    image.tombstones = tombstones.size();
    image.tombstones_file = file;
    images_.push_back(image);
  }

  ImagePoints& Points() {
    if (!points_) {
      points_ = std::make_unique<ImagePoints>(*repository_, SystemClock(), images_, options_);
    }
    return *points_;
  }
  /// Reads the shard to its end, `limit` points at a time.
  std::vector<std::string> ReadAll(std::uint32_t shard, std::uint32_t limit,
                                   std::string after = {}) {
    std::vector<std::string> ids;
    for (bool end = false; !end;) {
      const auto page = Points().ReadPage({}, ShardId(shard), after, {.points = limit});
      EXPECT_TRUE(page.ok()) << page.error().ToString();
      if (!page.ok()) return ids;
      for (const SourcePoint& point : page->points) ids.push_back(point.id_json);
      end = page->end || page->points.empty();
      if (!page->points.empty()) after = page->points.back().id_json;
    }
    return ids;
  }
  std::string Log() const {
    std::ifstream file(log_);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  bool ScratchIsEmpty() const { return std::filesystem::is_empty(scratch_.path()); }

  testing::MemoryObjectStore store_;
  std::unique_ptr<Repository> repository_;
  testing::TempFolder scratch_;
  testing::TempFolder logs_;
  std::string log_;
  ImagePointsOptions options_;
  std::vector<ShardImage> images_;
  std::unique_ptr<ImagePoints> points_;
};

std::vector<std::string> Numbers(std::size_t from, std::size_t to) {
  std::vector<std::string> ids;
  for (std::size_t i = from; i < to; ++i) ids.push_back(std::to_string(i));
  return ids;
}

TEST_F(ImagePointsTest, GivesEveryPointOfEachShardFromOneProcessEach) {
  const Bytes tar = testing::MakeTar({{"a", testing::Noise(70'000, 1)}});
  Hold(3, tar);
  Hold(1, tar);
  Fake({"--points", "25"});
  images_[0].image_points = 25;
  images_[0].key = ShardKey("tenant");
  const auto shards = Points().Shards({});
  ASSERT_TRUE(shards.ok());
  ASSERT_THAT(*shards, SizeIs(2));
  EXPECT_EQ((*shards)[0].shard, ShardId(1));
  EXPECT_EQ((*shards)[1].key, ShardKey("tenant"));
  EXPECT_EQ((*shards)[1].points, 25U);
  EXPECT_EQ(ReadAll(3, 10), Numbers(0, 25));
  EXPECT_TRUE(ScratchIsEmpty()) << "behind the last page its room is free";
  EXPECT_EQ(ReadAll(1, 7), Numbers(0, 25));
  // The engine had the tar that was stored, in a folder that nobody else can read.
  EXPECT_EQ(Log(), "start\nopen " + std::to_string(tar.size()) +
                       " 0o700\npage None\npage 9\npage 19\nstart\nopen " +
                       std::to_string(tar.size()) +
                       " 0o700\npage None\npage 6\npage 13\npage 20\n");
  EXPECT_EQ(Points().ReadPage({}, ShardId(2), "", {}).error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(ImagePointsTest, GoesOnBehindAnyPosition) {
  Hold(0, testing::MakeTar({}));
  EXPECT_EQ(ReadAll(0, 4, "6"), Numbers(7, 10));
  EXPECT_EQ(ReadAll(0, 4, "9"), Numbers(0, 0));
  EXPECT_EQ(ReadAll(0, 100), Numbers(0, 10));
}

TEST_F(ImagePointsTest, LeavesTombstonesOut) {
  Hold(0, testing::MakeTar({}),
       {"0", "3", "4", "5", "9", "77", "\"936da01f-9abd-4d9d-80c7-02af85c822a8\""});
  for (const std::uint32_t limit : {1U, 2U, 3U, 100U}) {
    EXPECT_THAT(ReadAll(0, limit), ElementsAre("1", "2", "6", "7", "8")) << limit;
  }
  // From a position, and from an earlier one again, as after a page that was lost.
  for (const char* const after : {"4", "1", "6", "2"}) {
    std::vector<std::string> wanted;
    for (const char* const id : {"1", "2", "6", "7", "8"}) {
      if (CompareIds(id, after) > 0) wanted.emplace_back(id);
    }
    const auto page = Points().ReadPage({}, ShardId(0), after, {.points = 2});
    ASSERT_TRUE(page.ok()) << page.error().ToString();
    ASSERT_FALSE(page->points.empty()) << "a page without points would be the end";
    EXPECT_EQ(page->points[0].id_json, wanted[0]);
  }
  images_[0].image_points = 10;
  EXPECT_EQ((*Points().Shards({}))[0].points, 3U) << "more tombstones than the image has of them";
}

TEST_F(ImagePointsTest, AProcessThatDiedIsFollowedByAnother) {
  Hold(0, testing::MakeTar({}));
  Fake({"--points", "20", "--die-at-page", "3"});
  std::string after;
  std::vector<std::string> ids;
  int failed = 0;
  for (bool end = false; !end;) {
    const auto page = Points().ReadPage({}, ShardId(0), after, {.points = 4});
    if (!page.ok()) {
      EXPECT_EQ(page.error().code(), ErrorCode::kUnavailable);
      EXPECT_THAT(page.error().message(), HasSubstr("image of shard 0"));
      EXPECT_TRUE(ScratchIsEmpty());
      ASSERT_LT(++failed, 2);
      continue;
    }
    for (const SourcePoint& point : page->points) ids.push_back(point.id_json);
    if (!page->points.empty()) after = ids.back();
    end = page->end;
  }
  EXPECT_EQ(failed, 1);
  EXPECT_EQ(ids, Numbers(0, 20));
}

TEST_F(ImagePointsTest, AnImageWithOtherPointsThanAtBackupIsDataLoss) {
  Hold(0, testing::MakeTar({}));
  images_[0].image_points = 11;
  const auto page = Points().ReadPage({}, ShardId(0), "", {});
  ASSERT_FALSE(page.ok());
  EXPECT_EQ(page.error().code(), ErrorCode::kDataLoss);
  EXPECT_THAT(page.error().message(), HasSubstr("at backup it had 11"));
  // One that carries its write-ahead log holds more than its trackers tell.
  images_[0].delete_proof = DeleteProof::kCollectionSnapshot;
  EXPECT_TRUE(Points().ReadPage({}, ShardId(0), "", {}).ok());
}

TEST_F(ImagePointsTest, AnImageThatIsAnotherOneIsDataLoss) {
  Hold(0, testing::MakeTar({}));
  images_[0].tar_sha256 = std::string(64, '0');
  EXPECT_EQ(Points().ReadPage({}, ShardId(0), "", {}).error().code(), ErrorCode::kDataLoss);
  EXPECT_TRUE(ScratchIsEmpty());
}

TEST_F(ImagePointsTest, AnImageLargerThanTheScratchRoomIsRefusedWithTheKey) {
  Hold(0, testing::MakeTar({}));
  options_.scratch_bytes_max = 1 * kMiB;
  const auto page = Points().ReadPage({}, ShardId(0), "", {});
  ASSERT_FALSE(page.ok());
  EXPECT_EQ(page.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(page.error().hint(), HasSubstr("scratch_bytes_max"));
  EXPECT_EQ(Log(), "");
}

TEST_F(ImagePointsTest, ShardsTakeTurnsWhereTheRoomIsScarce) {
  Hold(0, testing::MakeTar({}));
  Hold(1, testing::MakeTar({}));
  options_.scratch_bytes_max = ImagePoints::ScratchBytes(images_[0].tar_bytes) + kMiB;
  ASSERT_TRUE(Points().ReadPage({}, ShardId(0), "", {.points = 4}).ok());
  const CallContext soon = SystemClock().Within({}, std::chrono::milliseconds(50));
  EXPECT_EQ(Points().ReadPage(soon, ShardId(1), "", {.points = 4}).error().code(),
            ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(ReadAll(0, 100, "3"), Numbers(4, 10));
  EXPECT_EQ(ReadAll(1, 100), Numbers(0, 10));
}

TEST_F(ImagePointsTest, AMissingEngineIsToldBeforeAnythingIsUnpacked) {
  EXPECT_TRUE(CheckEngine({}, SystemClock(), options_).ok());
  options_.engine.command = {"holdfast-engine-that-is-not-there"};
  const Status missing = CheckEngine({}, SystemClock(), options_);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code(), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(missing.error().hint(), HasSubstr("pip install"));
  EXPECT_TRUE(ScratchIsEmpty());
}

TEST_F(ImagePointsTest, TheRealEngineGivesWhatARealServerHadStored) {
  if (Python().empty()) GTEST_SKIP() << "there is no Python environment; ./dev setup python";
  options_.engine.command = {Python(), (testing::SourceDir() / "engine/holdfast-engine").string()};
  Hold(0, testing::ReadTestData("shard-stream.tar"));
  images_[0].image_points = 1014;
  Hold(1, testing::ReadTestData("shard-empty.tar"));
  EXPECT_THAT(ReadAll(0, 300), SizeIs(1014));
  EXPECT_THAT(ReadAll(1, 300), SizeIs(0));
  EXPECT_TRUE(ScratchIsEmpty());
}

}  // namespace
}  // namespace holdfast
