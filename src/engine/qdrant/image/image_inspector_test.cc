#include "engine/qdrant/image/image_inspector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "engine/qdrant/stored_snapshot.h"
#include "model/json.h"
#include "stream/tar_reader.h"
#include "stream/tar_writer.h"
#include "testing/paths.h"
#include "testing/temp_folder.h"

namespace holdfast::qdrant {
namespace {

using ::testing::HasSubstr;

/// `path` from the root of the tree.
Bytes ReadFile(const std::string& path) {
  std::ifstream file(testing::SourceDir() / path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return ToBytes(AsBytes(text));
}

Bytes ReadFixture(const std::string& name) { return ReadFile("tests/data/" + name); }

/// A stored shard snapshot as a streamed one.
Bytes Unpacked(const std::string& path) {
  BytesSink out(std::size_t{1} << 26);
  const auto unpacker = NewStoredSnapshotUnpacker({}, out);
  EXPECT_TRUE(unpacker->Write({}, ReadFile(path)).ok());
  EXPECT_TRUE(unpacker->Finish({}).ok());
  return out.Take();
}

struct Entry {
  TarEntry header;
  Bytes data;
};

class Entries final : public TarVisitor {
 public:
  Status OnEntry(const CallContext&, const TarEntry& entry) override {
    all.push_back({.header = entry, .data = {}});
    return {};
  }
  Status OnData(const CallContext&, std::uint64_t, ByteView data) override {
    Append(all.back().data, data);
    return {};
  }
  Status OnEntryEnd(const CallContext&, ByteView) override { return {}; }

  std::vector<Entry> all;
};

// A fixture that was changed: entries can be dropped, moved and given other content.
Bytes Changed(const std::string& fixture, const std::function<void(std::vector<Entry>&)>& change) {
  Entries entries;
  TarReader reader(entries);
  const Bytes tar = ReadFixture(fixture);
  EXPECT_TRUE(reader.Write({}, tar).ok());
  EXPECT_TRUE(reader.Finish().ok());
  change(entries.all);
  BytesSink out(1 << 26);
  TarWriter writer(out);
  for (const Entry& entry : entries.all) {
    EXPECT_TRUE(writer.BeginVerbatim({}, entry.header.headers, entry.data.size()).ok());
    EXPECT_TRUE(entry.data.empty() || writer.Data({}, entry.data).ok());
    EXPECT_TRUE(writer.End({}).ok());
  }
  EXPECT_TRUE(writer.Finish({}).ok());
  return out.Take();
}

std::function<void(std::vector<Entry>&)> Without(const std::string& part) {
  return [part](std::vector<Entry>& entries) {
    const auto gone = std::erase_if(entries, [&](const Entry& entry) {
      return entry.header.path.find(part) != std::string::npos;
    });
    EXPECT_GT(gone, 0U) << part;
  };
}

class ImageInspectorTest : public ::testing::Test {
 protected:
  Result<ImageFacts> Inspect(ByteView tar, std::size_t slice = 4096) {
    inspector_ = NewImageInspector(folder_.path().string());
    TarReader reader(*inspector_);
    for (std::size_t at = 0; at < tar.size(); at += slice) {
      HF_RETURN_IF_ERROR(reader.Write({}, tar.subspan(at, std::min(slice, tar.size() - at))));
    }
    HF_RETURN_IF_ERROR(reader.Finish());
    return inspector_->Finish({});
  }

  std::string ProblemOf(ByteView tar) {
    const Result<ImageFacts> facts = Inspect(tar);
    if (facts.ok()) return "complete";
    EXPECT_EQ(facts.error().code(), ErrorCode::kDataLoss);
    return facts.error().message();
  }

  std::vector<std::string> Ids() {
    std::vector<std::string> ids;
    const Status visited = inspector_->VisitIds({}, [&](std::string_view id) -> Status {
      ids.emplace_back(id);
      return {};
    });
    EXPECT_TRUE(visited.ok());
    return ids;
  }

  testing::TempFolder folder_;
  std::unique_ptr<ImageInspector> inspector_;
};

// Points as qdrant_edge counts them (tests/engine/test_image_points.py), which are those that the
// live cluster counted when the images were taken.
TEST_F(ImageInspectorTest, RecordedImagesHaveTheIdsThatTheEngineCounts) {
  std::ifstream table(testing::SourceDir() / "tests/engine/data/image_points.json");
  const json::Json points_of = json::Json::parse(table);
  ASSERT_EQ(points_of.size(), 5U);
  for (const auto& [image, points] : points_of.items()) {
    const Bytes tar = image.ends_with("regular.tar") ? Unpacked(image) : ReadFile(image);
    for (const std::size_t slice : {std::size_t{7}, std::size_t{512}, std::size_t{1} << 20}) {
      SCOPED_TRACE(image + " in slices of " + std::to_string(slice));
      const Result<ImageFacts> facts = Inspect(tar, slice);
      ASSERT_TRUE(facts.ok()) << facts.error().ToString();
      EXPECT_EQ(facts->segments, 2U);
      ASSERT_TRUE(facts->live_points.has_value());
      EXPECT_EQ(*facts->live_points, points.get<std::uint64_t>());
      const std::vector<std::string> ids = Ids();
      EXPECT_EQ(ids.size(), *facts->live_points);
      EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), ids.size());
      EXPECT_TRUE(std::filesystem::is_empty(folder_.path())) << "temporary files are unlinked";
    }
  }
}

TEST_F(ImageInspectorTest, IdsComeInTheOrderOfAScrollOfTheReplica) {
  ASSERT_TRUE(Inspect(ReadFile("tests/engine/data/shard-optimized.tar")).ok());
  std::ifstream lines(testing::SourceDir() / "tests/engine/data/shard-optimized.ids");
  std::vector<std::string> scrolled;
  for (std::string line; std::getline(lines, line);) scrolled.push_back(line);
  EXPECT_EQ(Ids(), scrolled);
}

TEST_F(ImageInspectorTest, LayoutAndPeerAreThoseOfTheReplica) {
  const Result<ImageFacts> plain = Inspect(ReadFixture("shard-stream.tar"));
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->peer, PeerId(6106786298590253));
  EXPECT_EQ(plain->layout_json,
            R"({"sparse":[],"vectors":{"":{"datatype":"float32","distance":"Cosine",)"
            R"("multivector":null,"size":64}}})");
  const Result<ImageFacts> hybrid = Inspect(ReadFixture("shard-hybrid.tar"));
  ASSERT_TRUE(hybrid.ok());
  EXPECT_EQ(hybrid->peer, PeerId(1897234352268713));
  EXPECT_THAT(hybrid->layout_json, HasSubstr(R"("sparse":["bm25"])"));
  EXPECT_THAT(hybrid->layout_json, HasSubstr(R"("multivector":"max_sim")"));
  EXPECT_THAT(hybrid->layout_json, HasSubstr(R"("datatype":"float16")"));
}

TEST_F(ImageInspectorTest, AStandaloneServersImageGetsTheNameItIsKnownBy) {
  inspector_ = NewImageInspector(folder_.path().string(), PeerId(0));
  TarReader reader(*inspector_);
  ASSERT_TRUE(reader.Write({}, ReadFixture("shard-empty.tar")).ok());
  ASSERT_TRUE(reader.Finish().ok());
  const Result<ImageFacts> facts = inspector_->Finish({});
  ASSERT_TRUE(facts.ok());
  EXPECT_EQ(facts->peer, PeerId(0));
}

TEST_F(ImageInspectorTest, TheSilentlyShortFixtureIsNotComplete) {
  const Result<ImageFacts> facts = Inspect(ReadFixture("shard-truncated-silently.tar"));
  ASSERT_FALSE(facts.ok());
  EXPECT_EQ(facts.error().code(), ErrorCode::kDataLoss);
}

TEST_F(ImageInspectorTest, AStoredSnapshotIsNotAStreamedOne) {
  EXPECT_THAT(ProblemOf(ReadFixture("shard-regular.tar")), HasSubstr("must be unpacked first"));
}

TEST_F(ImageInspectorTest, APartialSnapshotIsNotAnImage) {
  EXPECT_THAT(ProblemOf(ReadFixture("partial-full.tar")), HasSubstr("partial snapshot"));
}

TEST_F(ImageInspectorTest, EveryMissingPartIsNamed) {
  const std::string fixture = "shard-stream.tar";
  const std::string segment = "4d9273b3-6b17-4693-bfeb-e86f7db27525";
  EXPECT_EQ(ProblemOf(Changed(fixture, [](std::vector<Entry>&) {})), "complete");
  EXPECT_EQ(ProblemOf(Changed(fixture, Without("payload_index/"))), "complete");
  EXPECT_THAT(ProblemOf(Changed(fixture, Without(segment + "/files/segment.json"))),
              HasSubstr("segment " + segment + " has no segment.json"));
  EXPECT_THAT(ProblemOf(Changed(fixture, Without(segment + "/files/version.info"))),
              HasSubstr("segment " + segment + " has no version.info"));
  EXPECT_THAT(ProblemOf(Changed(fixture, Without("segments/"))), HasSubstr("'segments/'"));
  EXPECT_THAT(ProblemOf(Changed(fixture, Without("wal/"))), HasSubstr("'wal/'"));
  EXPECT_THAT(ProblemOf(Changed(fixture, Without("wal/closed"))), HasSubstr("'wal/'"));
  EXPECT_THAT(ProblemOf(Changed(fixture, Without("replica_state.json"))),
              HasSubstr("instead of 'replica_state.json'"));
  EXPECT_THAT(ProblemOf(Changed(fixture, Without("shard_config.json"))),
              HasSubstr("it ends with 'replica_state.json'"));
}

TEST_F(ImageInspectorTest, TheLastTwoMustComeLast) {
  const Bytes tar = Changed("shard-stream.tar", [](std::vector<Entry>& entries) {
    std::swap(entries.front(), entries.back());
  });
  EXPECT_THAT(ProblemOf(tar), HasSubstr("it ends with"));
}

TEST_F(ImageInspectorTest, AReplicaThatWasNotLocalIsNotComplete) {
  for (const std::string state : {R"({"is_local":false,"this_peer_id":6106786298590253})",
                                  R"({"this_peer_id":6106786298590253})", "[]"}) {
    const Bytes tar = Changed("shard-stream.tar", [&](std::vector<Entry>& entries) {
      Entry& entry = entries[entries.size() - 2];
      entry.data = ToBytes(AsBytes(state));
      entry.header.runs = {{0, state.size()}};
      entry.header.real_size = state.size();
      entry.header.headers = *MakeTarHeaders(entry.header);
    });
    EXPECT_THAT(ProblemOf(tar), HasSubstr("is_local"));
  }
}

TEST_F(ImageInspectorTest, SegmentsThatDisagreeAboutVectorsAreNotOneImage) {
  const Bytes tar = Changed("shard-stream.tar", [](std::vector<Entry>& entries) {
    for (Entry& entry : entries) {
      if (!entry.header.path.ends_with("segment.json")) continue;
      std::string text(AsText(entry.data));
      text.replace(text.find("Cosine"), 6, "Euclid");
      entry.data = ToBytes(AsBytes(text));
      break;
    }
  });
  EXPECT_THAT(ProblemOf(tar), HasSubstr("different vectors"));
}

TEST_F(ImageInspectorTest, AnImageWithALogKnowsItsLayoutButNotItsIds) {
  const Bytes tar = Changed("shard-stream.tar", [](std::vector<Entry>& entries) {
    for (Entry& entry : entries) {
      if (!entry.header.path.starts_with("wal/closed")) continue;
      ASSERT_GT(entry.data.size(), 100U);
      entry.data[100] = std::byte{1};
    }
  });
  const Result<ImageFacts> facts = Inspect(tar);
  ASSERT_TRUE(facts.ok()) << facts.error().ToString();
  EXPECT_FALSE(facts->live_points.has_value());
  EXPECT_THAT(facts->layout_json, HasSubstr("Cosine"));
  const Status visited = inspector_->VisitIds({}, [](std::string_view) -> Status { return {}; });
  ASSERT_FALSE(visited.ok());
  EXPECT_EQ(visited.error().code(), ErrorCode::kFailedPrecondition);
}

TEST_F(ImageInspectorTest, AnUnknownTrackerLeavesTheIdsUnknown) {
  const Bytes tar = Changed("shard-stream.tar", [](std::vector<Entry>& entries) {
    for (Entry& entry : entries) {
      if (!entry.header.path.ends_with("mutable_id_tracker.mappings")) continue;
      entry.data[0] = std::byte{9};
      break;
    }
  });
  const Result<ImageFacts> facts = Inspect(tar);
  ASSERT_TRUE(facts.ok()) << facts.error().ToString();
  EXPECT_FALSE(facts->live_points.has_value());
}

TEST_F(ImageInspectorTest, AVisitEndsWhenTheCallIsStopped) {
  ASSERT_TRUE(Inspect(ReadFixture("shard-stream.tar")).ok());
  std::stop_source stop;
  stop.request_stop();
  const Status visited = inspector_->VisitIds({.stop = stop.get_token(), .deadline = std::nullopt},
                                              [](std::string_view) -> Status { return {}; });
  ASSERT_FALSE(visited.ok());
  EXPECT_EQ(visited.error().code(), ErrorCode::kCancelled);
}

}  // namespace
}  // namespace holdfast::qdrant
