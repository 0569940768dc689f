#include "plan/restore_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <ostream>
#include <set>

#include "base/random.h"
#include "plan/restore_difference.h"

namespace holdfast {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

const GroupId kGroup("20261122T032438Z-9f8a7b6c5d4e3f2a");

using Placement = std::vector<std::vector<std::uint64_t>>;

std::vector<Peer> Peers(std::uint64_t count) {
  std::vector<Peer> peers;
  for (std::uint64_t id = 1; id <= count; ++id) {
    peers.push_back({.id = PeerId(id),
                     .p2p_uri = "",
                     .url = "http://peer",
                     .answers = true,
                     .version = "1.18.3",
                     .trouble = ""});
  }
  return peers;
}

Collection MakeCollection(const std::string& name, const Placement& placement,
                          std::vector<std::string> aliases = {}) {
  Collection collection;
  collection.name = name;
  collection.create_json = collection.finish_json = "{}";
  collection.aliases = std::move(aliases);
  std::size_t replicas = 1;
  for (const auto& peers : placement) {
    Shard shard{.id = ShardId(static_cast<std::uint32_t>(collection.shards.size())),
                .key = std::nullopt,
                .replicas = {}};
    for (const std::uint64_t peer : peers) {
      shard.replicas.push_back({.peer = PeerId(peer), .state = ReplicaState::kActive});
    }
    replicas = std::max(replicas, peers.size());
    collection.shards.push_back(shard);
  }
  collection.shard_number = static_cast<std::uint32_t>(placement.size());
  collection.replication_factor = static_cast<std::uint32_t>(replicas);
  return collection;
}

/// A group taken on `then` peers (ids 1..), and a target of `now` peers with the same ids.
struct Case {
  Case(std::uint64_t then, std::uint64_t now) {
    manifest.id = kGroup;
    manifest.topology.peers = Peers(then);
    target.peers = Peers(now);
  }

  CollectionRecord& Hold(Collection collection) {
    CollectionRecord record;
    for (const Shard& shard : collection.shards) {
      ShardImage image;
      image.shard = shard.id;
      image.key = shard.key;
      image.tar_bytes = 1000;
      record.shards.push_back(image);
    }
    record.collection = std::move(collection);
    const std::string name = record.collection.name;
    manifest.collections.push_back(
        {.name = name,
         .uuid = "",
         .record = static_cast<std::uint32_t>(manifest.collections.size()),
         .shards = static_cast<std::uint32_t>(record.shards.size()),
         .points = 0,
         .tar_bytes = 0,
         .aliases = record.collection.aliases});
    return records[name] = std::move(record);
  }
  CollectionRecord& Hold(const std::string& name, const Placement& placement,
                         std::vector<std::string> aliases = {}) {
    return Hold(MakeCollection(name, placement, std::move(aliases)));
  }
  void IsThere(const std::string& name, std::vector<std::string> aliases = {}) {
    target.collections.push_back(MakeCollection(name, {{1}}, std::move(aliases)));
  }

  Result<RestorePlan> Plan() const { return PlanRestore(manifest, records, target, request); }
  /// The plan of the one collection; fails the test when there is none.
  CollectionPlan One() const {
    const auto plan = Plan();
    if (!plan.ok()) {
      ADD_FAILURE() << plan.error().ToString();
      return {};
    }
    EXPECT_THAT(plan->collections, SizeIs(1));
    return plan->collections.front();
  }
  std::string Refusal() const {
    const auto plan = Plan();
    if (plan.ok()) {
      ADD_FAILURE() << "not refused: " << RestorePlanToJson(*plan);
      return {};
    }
    return plan.error().ToString();
  }

  GroupManifest manifest;
  std::map<std::string, CollectionRecord> records;
  Topology target;
  RestoreRequest request;
};

std::vector<std::vector<std::uint64_t>> PeersOf(const CollectionPlan& plan) {
  std::vector<std::vector<std::uint64_t>> out;
  for (const ShardPlacement& placement : plan.shards) {
    std::vector<std::uint64_t> ids;
    for (const PeerId peer : placement.peers) ids.push_back(peer.value());
    out.push_back(ids);
  }
  return out;
}

// --- names ---------------------------------------------------------------------------------------

/// What the target has, what is asked, and what must come out. `target` empty: refused.
struct NamingCase {
  const char* what;
  /// Aliases of 'docs' in the group.
  std::vector<std::string> aliases_then;
  /// Collections of the target with their aliases.
  std::vector<std::pair<std::string, std::vector<std::string>>> there;
  const char* as = "";
  bool hidden = false;
  bool in_place = false;

  const char* target = "";
  Naming naming = Naming::kFree;
  std::vector<std::string> aliases = {};
  const char* refusal = "";
};

void PrintTo(const NamingCase& row, std::ostream* out) { *out << row.what; }

class RestorePlanNaming : public ::testing::TestWithParam<NamingCase> {};

TEST_P(RestorePlanNaming, FollowsWhatReadersUse) {
  const NamingCase& row = GetParam();
  Case world(1, 1);
  world.Hold("docs", {{1}}, row.aliases_then);
  for (const auto& [name, aliases] : row.there) world.IsThere(name, aliases);
  if (*row.as != '\0') world.request.rename["docs"] = row.as;
  world.request.hidden = row.hidden;
  world.request.in_place = row.in_place;
  if (*row.target == '\0') {
    EXPECT_THAT(world.Refusal(), HasSubstr(row.refusal));
    return;
  }
  const CollectionPlan plan = world.One();
  EXPECT_EQ(plan.target, row.target);
  EXPECT_EQ(plan.naming, row.naming);
  EXPECT_EQ(plan.aliases, row.aliases);
}

constexpr const char* kBeside = "docs__20261122T032438Z-9f8a7b6c5d4e3f2a";

INSTANTIATE_TEST_SUITE_P(
    Table, RestorePlanNaming,
    ::testing::Values(NamingCase{.what = "a free name",
                                 .aliases_then = {"live"},
                                 .there = {{"other", {}}},
                                 .target = "docs",
                                 .aliases = {"live"}},
                      NamingCase{.what = "a free name, hidden",
                                 .aliases_then = {"live"},
                                 .there = {},
                                 .hidden = true,
                                 .target = kBeside,
                                 .naming = Naming::kHidden,
                                 .aliases = {"docs", "live"}},
                      NamingCase{.what = "the alias belongs to somebody else now",
                                 .aliases_then = {"live"},
                                 .there = {{"other", {"live"}}},
                                 .target = "docs"},
                      NamingCase{.what = "the alias is a collection now",
                                 .aliases_then = {"live"},
                                 .there = {{"live", {}}},
                                 .target = "docs"},
                      NamingCase{.what = "taken and read through the same alias",
                                 .aliases_then = {"live"},
                                 .there = {{"docs", {"live"}}},
                                 .target = kBeside,
                                 .naming = Naming::kBesideAlias,
                                 .aliases = {"live"}},
                      NamingCase{
                          .what = "taken and read through an alias that the group does not know",
                          .aliases_then = {"old"},
                          .there = {{"docs", {"new"}}},
                          .target = kBeside,
                          .naming = Naming::kBesideAlias,
                          .aliases = {"new", "old"}},
                      NamingCase{.what = "taken without alias",
                                 .aliases_then = {"live"},
                                 .there = {{"docs", {}}},
                                 .refusal = "--in-place"},
                      NamingCase{.what = "taken without alias, hidden: left beside",
                                 .aliases_then = {"live"},
                                 .there = {{"docs", {}}},
                                 .hidden = true,
                                 .target = kBeside,
                                 .naming = Naming::kHidden},
                      NamingCase{.what = "the name is an alias now",
                                 .aliases_then = {},
                                 .there = {{"docs-v2", {"docs"}}},
                                 .target = kBeside,
                                 .naming = Naming::kBesideAlias,
                                 .aliases = {"docs"}},
                      NamingCase{.what = "in place: aliases would go with the collection",
                                 .aliases_then = {"live"},
                                 .there = {{"docs", {"new"}}},
                                 .in_place = true,
                                 .target = "docs",
                                 .naming = Naming::kInPlace,
                                 .aliases = {"new", "live"}},
                      NamingCase{.what = "under another name: aliases stay where they are",
                                 .aliases_then = {"live"},
                                 .there = {{"docs", {"live"}}},
                                 .as = "copy",
                                 .target = "copy"},
                      NamingCase{.what = "under another name that is taken",
                                 .aliases_then = {},
                                 .there = {{"copy", {"reader"}}},
                                 .as = "copy",
                                 .refusal = "'copy'"},
                      NamingCase{.what = "under the name of an alias: switched",
                                 .aliases_then = {},
                                 .there = {{"docs", {"live"}}},
                                 .as = "live",
                                 .target = "live__20261122T032438Z-9f8a7b6c5d4e3f2a",
                                 .naming = Naming::kBesideAlias,
                                 .aliases = {"live"}},
                      NamingCase{.what = "the name beside is left over from another restore",
                                 .aliases_then = {"live"},
                                 .there = {{"docs", {"live"}}, {kBeside, {}}},
                                 .refusal = "left over from an earlier restore"},
                      NamingCase{.what = "the name beside is an alias",
                                 .aliases_then = {"live"},
                                 .there = {{"docs", {"live"}}, {"other", {kBeside}}},
                                 .refusal = kBeside},
                      NamingCase{.what = "no name at all",
                                 .aliases_then = {},
                                 .there = {},
                                 .as = "a/b",
                                 .refusal = "is no collection name"},
                      NamingCase{.what = "a name that is a folder above",
                                 .aliases_then = {},
                                 .there = {},
                                 .as = "..",
                                 .refusal = "is no collection name"}));

TEST(RestorePlanTest, AliasesThatAreNotSetAreSaid) {
  Case world(1, 1);
  world.Hold("docs", {{1}}, {"live", "name"});
  world.IsThere("other", {"live"});
  world.IsThere("name");
  const auto plan = world.Plan();
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  EXPECT_THAT(plan->warnings,
              ElementsAre(AllOf(HasSubstr("'live'"), HasSubstr("'other'")), HasSubstr("'name'")));
}

TEST(RestorePlanTest, TwoCollectionsNeverGetOneName) {
  Case world(1, 1);
  world.Hold("a", {{1}});
  world.Hold("b", {{1}}, {"readers"});
  world.request.rename["a"] = "b";
  EXPECT_THAT(world.Refusal(), AllOf(HasSubstr("'a' and 'b'"), HasSubstr("--as")));
  world.request.rename["a"] = "readers";
  EXPECT_THAT(world.Refusal(), HasSubstr("'a' and 'b'")) << "a name and an alias";
  world.request.rename = {{"a", "x"}, {"b", "x"}};
  EXPECT_THAT(world.Refusal(), HasSubstr("'a' and 'b'"));
  world.request.rename = {{"a", "b"}};
  world.request.in_place = true;
  world.IsThere("b");
  EXPECT_THAT(world.Refusal(), HasSubstr("'a' and 'b'")) << "both would replace one collection";
}

TEST(RestorePlanTest, TheNameBesideStaysLegalAndCutsNoCharacter) {
  EXPECT_EQ(BesideName("docs", kGroup), kBeside);
  for (std::size_t letters = 0; letters <= 255; ++letters) {
    const std::string beside = BesideName(std::string(letters, 'a') + "ü€𝄞ü€𝄞", kGroup);
    EXPECT_LE(beside.size(), 255U);
    EXPECT_TRUE(beside.ends_with("__" + kGroup.value()));
    const std::string head = beside.substr(0, beside.size() - kGroup.value().size() - 2);
    const std::string tail = head.substr(std::min(head.size(), letters));
    EXPECT_THAT((std::set<std::string>{"", "ü", "ü€", "ü€𝄞", "ü€𝄞ü", "ü€𝄞ü€", "ü€𝄞ü€𝄞"}),
                Contains(tail));
  }
}

// --- what is asked -------------------------------------------------------------------------------

TEST(RestorePlanTest, TakesTheCollectionsAskedForInTheOrderOfTheGroup) {
  Case world(1, 1);
  for (const char* name : {"a", "b", "c"}) world.Hold(name, {{1}});
  world.request.collections = {"c", "a"};
  const auto plan = world.Plan();
  ASSERT_TRUE(plan.ok());
  ASSERT_THAT(plan->collections, SizeIs(2));
  EXPECT_EQ(plan->collections[0].source, "a");
  EXPECT_EQ(plan->collections[1].source, "c");
  EXPECT_EQ(plan->collections[1].record, 2U);
}

TEST(RestorePlanTest, NamesWhatTheGroupOrTheTargetDoesNotHave) {
  Case world(1, 1);
  world.Hold("docs", {{1}});
  world.Hold("more", {{1}});
  world.request.collections = {"nope"};
  EXPECT_EQ(world.Plan().error().code(), ErrorCode::kNotFound);
  EXPECT_THAT(world.Refusal(), AllOf(HasSubstr("'nope'"), HasSubstr("holdfast show")));
  world.request = {};
  world.request.rename["nope"] = "x";
  EXPECT_EQ(world.Plan().error().code(), ErrorCode::kNotFound);
  world.request = {};
  world.request.collections = {"docs"};
  world.request.rename["more"] = "x";
  EXPECT_EQ(world.Plan().error().code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(world.Refusal(), HasSubstr("--collections leaves out"));
  world.request = {};
  world.request.avoid = {PeerId(9)};
  EXPECT_EQ(world.Plan().error().code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(world.Refusal(), HasSubstr("peer 9"));
}

TEST(RestorePlanTest, RefusesATargetThatIsOlderThanTheGroup) {
  Case world(1, 2);
  world.Hold("docs", {{1}});
  world.target.peers[1].version = "1.17.9";
  EXPECT_THAT(world.Refusal(), AllOf(HasSubstr("peer 2 runs 1.17.9"), HasSubstr("1.18.3")));
  world.request.avoid = {PeerId(2)};
  EXPECT_TRUE(world.Plan().ok()) << "what gets nothing may be older";
}

TEST(RestorePlanTest, ListsEveryProblemAtOnce) {
  Case world(3, 1);
  world.Hold("a", {{1, 2}, {2, 3}});
  world.Hold("b", {{1}});
  world.IsThere("b");
  world.target.peers[0].version = "1.17.0";
  EXPECT_THAT(world.Refusal(), AllOf(HasSubstr("older"), HasSubstr("1 of 2 replicas"),
                                     HasSubstr("all shards of 'a' share one peer"),
                                     HasSubstr("'b' that is not read through an alias")));
}

TEST(RestorePlanTest, WithoutAPeerNothingIsPlanned) {
  Case world(2, 2);
  world.Hold("docs", {{1, 2}});
  world.target.peers[0].answers = false;
  world.target.peers[0].trouble = "connection refused";
  world.request.avoid = {PeerId(2)};
  EXPECT_THAT(world.Refusal(), HasSubstr("no peer of the target can be used"));
}

// --- shard keys ----------------------------------------------------------------------------------

/// A collection with custom sharding: keys with their shard ids.
Collection Custom(const std::vector<std::pair<ShardKey, std::vector<std::uint32_t>>>& keys) {
  Collection collection;
  collection.name = "tenants";
  collection.create_json = collection.finish_json = "{}";
  collection.custom_sharding = true;
  for (const auto& [key, ids] : keys) {
    collection.shard_keys.push_back(key);
    for (const std::uint32_t id : ids) {
      collection.shards.push_back(
          {.id = ShardId(id),
           .key = key,
           .replicas = {{.peer = PeerId(1), .state = ReplicaState::kActive}}});
    }
  }
  std::ranges::sort(collection.shards, {}, &Shard::id);
  return collection;
}

std::vector<std::string> Steps(const CollectionPlan& plan) {
  std::vector<std::string> out;
  for (const KeyStep& step : plan.keys) {
    out.push_back(FormatShardKey(step.key) + ":" + std::to_string(step.shards) +
                  (step.filler ? " filler" : ""));
  }
  return out;
}

TEST(RestorePlanTest, MakesKeysInTheOrderOfTheirIdsWithFillersInTheGaps) {
  Case world(1, 1);
  world.Hold(Custom({{ShardKey("b"), {3, 4}}, {ShardKey(std::uint64_t{7}), {8}}}));
  const CollectionPlan plan = world.One();
  EXPECT_THAT(Steps(plan), ElementsAre(R"("holdfast-filler-0":2 filler)", R"("b":2)",
                                       R"("holdfast-filler-1":3 filler)", "7:1"));
  EXPECT_EQ(plan.keys[3].key, ShardKey(std::uint64_t{7}));
}

TEST(RestorePlanTest, NeedsNoFillerWithoutGaps) {
  Case world(1, 1);
  world.Hold(Custom({{ShardKey("a"), {1}}, {ShardKey("b"), {2, 3}}}));
  EXPECT_THAT(Steps(world.One()), ElementsAre(R"("a":1)", R"("b":2)"));
}

TEST(RestorePlanTest, AFillerNeverTakesTheNameOfAKey) {
  Case world(1, 1);
  world.Hold(Custom({{ShardKey("holdfast-filler-0"), {2}}, {ShardKey("x"), {4}}}));
  EXPECT_THAT(Steps(world.One()),
              ElementsAre(R"("holdfast-filler-1":1 filler)", R"("holdfast-filler-0":1)",
                          R"("holdfast-filler-2":1 filler)", R"("x":1)"));
}

TEST(RestorePlanTest, RefusesAKeyWhoseOwnIdsHaveGaps) {
  Case world(1, 1);
  world.Hold(Custom({{ShardKey("a"), {1, 3}}, {ShardKey("b"), {2}}}));
  EXPECT_THAT(world.Refusal(), AllOf(HasSubstr("key \"a\""), HasSubstr("cannot be made again")));
}

// --- another number of shards --------------------------------------------------------------------

TEST(RestoreDifferenceTest, NoFiguresOfWhatTheServersPlace) {
  Case world(2, 2);
  world.Hold("docs", {{1, 2}, {2}});
  world.request.shards["docs"] = 5;
  const auto row = [&](const std::string& what) {
    const auto plan = world.Plan();
    if (!plan.ok()) return plan.error().ToString();
    for (const auto& one : CompareThenAndNow(world.manifest, world.records, world.target, *plan)) {
      if (one.what == what) return one.then + " | " + one.now;
    }
    return std::string("no such row");
  };
  EXPECT_EQ(row("peer 2"), "2 replicas, 2.0 KiB | gets what the servers place on it");
  EXPECT_THAT(row("shards of 'docs'"), HasSubstr("the servers place them"));
  world.Hold("other", {{1}, {2}});
  EXPECT_EQ(row("peer 2"),
            "3 replicas, 2.9 KiB | gets 1 replica, 1000 B, and what the servers place on it");
  world.request.shards.clear();
  EXPECT_THAT(row("peer 2"), Not(HasSubstr("servers place")));
}

TEST(RestorePlanTest, AnotherNumberOfShardsIsACopyThatTheServerPlaces) {
  Case world(3, 3);
  world.Hold("docs", {{1, 2}, {2, 3}}, {"live"});
  world.Hold("other", {{1}, {2}, {3}});
  world.request.shards["docs"] = 5;
  const auto plan = world.Plan();
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  const CollectionPlan& copied = plan->collections[0];
  EXPECT_EQ(copied.copy_shards, 5U);
  EXPECT_THAT(copied.shards, IsEmpty());
  EXPECT_EQ(copied.replication_factor, 2U);
  EXPECT_EQ(copied.tar_bytes, 2000U);
  EXPECT_THAT(copied.place_on, SizeIs(3));
  EXPECT_THAT(copied.aliases, ElementsAre("live"));
  EXPECT_EQ(plan->collections[1].copy_shards, 0U);
  EXPECT_THAT(plan->collections[1].shards, SizeIs(3));
  const auto again = RestorePlanFromJson(RestorePlanToJson(*plan));
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  EXPECT_EQ(RestorePlanToJson(*again), RestorePlanToJson(*plan));
  EXPECT_EQ(again->collections[0].copy_shards, 5U);
}

TEST(RestorePlanTest, TheNumberItHasIsRestoredFromItsImages) {
  Case world(3, 3);
  world.Hold("docs", {{1}, {2}});
  world.Hold("wide", {{1}, {2}, {3}});
  world.request.shards_of_all = 2;
  world.request.shards["wide"] = 3;
  const auto planned = world.Plan();
  ASSERT_TRUE(planned.ok()) << planned.error().ToString();
  for (const CollectionPlan& plan : planned->collections) {
    EXPECT_EQ(plan.copy_shards, 0U) << plan.source;
  }
  world.request.shards.clear();
  EXPECT_EQ(world.Plan()->collections[1].copy_shards, 2U);
}

TEST(RestorePlanTest, EveryShardKeyGetsTheNumberAndGapsDoNotMatter) {
  Case world(2, 2);
  world.Hold(Custom({{ShardKey("a"), {1, 3}}, {ShardKey(std::uint64_t{7}), {9}}}));
  world.request.shards_of_all = 4;
  const CollectionPlan plan = world.One();
  EXPECT_EQ(plan.copy_shards, 4U);
  EXPECT_THAT(Steps(plan), ElementsAre(R"("a":4)", "7:4"));
  // One key that has the number already does not make the others have it.
  world.request.shards_of_all = 1;
  EXPECT_EQ(world.One().copy_shards, 1U);
}

TEST(RestorePlanTest, WhereTheServerWouldPlaceOnAPeerThatIsNotToBeUsedACopyIsRefused) {
  Case world(3, 3);
  world.Hold("docs", {{1}, {2}});
  world.request.shards_of_all = 3;
  world.target.peers[1].answers = false;
  world.target.peers[1].trouble = "connection refused";
  EXPECT_THAT(world.Refusal(), AllOf(HasSubstr("places the new shards of 'docs'"), HasSubstr("2"),
                                     HasSubstr("without --shards")));
  // With shard keys the peers are named.
  Case keyed(3, 3);
  keyed.Hold(Custom({{ShardKey("a"), {1}}}));
  keyed.request.shards_of_all = 3;
  keyed.request.avoid = {PeerId(2)};
  EXPECT_THAT(keyed.One().place_on, ElementsAre(PeerId(1), PeerId(3)));
}

TEST(RestorePlanTest, PointsThatBelongElsewhereAreNotCopied) {
  Case world(1, 1);
  CollectionRecord& record = world.Hold("docs", {{1}, {1}});
  record.shards[1].points_min = record.shards[1].points_max = 100;
  record.shards[1].ring_points_min = record.shards[1].ring_points_max = 60;
  EXPECT_TRUE(world.Plan().ok());
  world.request.shards_of_all = 3;
  EXPECT_THAT(world.Refusal(), AllOf(HasSubstr("shard 1 of 'docs'"), HasSubstr("resharding")));
  // Under writers the counts are bounds, taken one after the other.
  record.shards[1].points_min = 55;
  EXPECT_TRUE(world.Plan().ok());
}

TEST(RestorePlanTest, ACopyNeedsRoomAndReplicasLikeAnyRestore) {
  Case world(3, 2);
  world.Hold("docs", {{1, 2, 3}, {1, 2, 3}});
  world.request.shards_of_all = 4;
  EXPECT_THAT(world.Refusal(), HasSubstr("2 of 3 replicas"));
  world.request.allow_consolidation = true;
  EXPECT_EQ(world.One().replication_factor, 2U);
  world.request.limits[PeerId(1)].disk_free = 100;
  EXPECT_THAT(world.Refusal(), HasSubstr("of disk"));
}

TEST(RestorePlanTest, NumbersOfShardsAreCheckedAndSurviveTheJournal) {
  Case world(1, 1);
  world.Hold("docs", {{1}, {1}});
  for (const std::uint32_t shards : {0U, 1001U}) {
    world.request.shards["docs"] = shards;
    EXPECT_THAT(world.Refusal(), HasSubstr("docs=" + std::to_string(shards)));
  }
  world.request.shards = {{"none", 2}};
  EXPECT_THAT(world.Refusal(), HasSubstr("'none', which the group has not"));
  world.request.shards = {{"docs", 1}};
  world.request.shards_of_all = 7;
  const auto again = RestoreRequestFromJson(RestoreRequestToJson(kGroup, world.request));
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  EXPECT_EQ(again->second.shards, world.request.shards);
  EXPECT_EQ(again->second.shards_of_all, 7U);
}

// --- placement -----------------------------------------------------------------------------------

TEST(RestorePlanTest, KeepsReplicasWhereTheyWere) {
  Case world(3, 3);
  const Placement then = {{1, 2}, {2, 3}, {1, 3}, {1, 2}, {2, 3}, {1, 3}};
  world.Hold("docs", then);
  EXPECT_EQ(PeersOf(world.One()), then);
}

TEST(RestorePlanTest, SpreadsOverPeersThatAreNewOrLeft) {
  Case more(2, 3);
  more.Hold("docs", Placement(9, {1, 2}));
  std::map<std::uint64_t, int> held;
  for (const auto& peers : PeersOf(more.One())) {
    for (const std::uint64_t peer : peers) ++held[peer];
  }
  EXPECT_THAT(held, ElementsAre(std::pair(1, 6), std::pair(2, 6), std::pair(3, 6)));
  Case fewer(3, 3);
  fewer.Hold("docs", {{1}, {2}, {3}, {1}, {2}, {3}});
  fewer.target.peers[2].answers = false;
  const auto plan = fewer.Plan();
  ASSERT_TRUE(plan.ok()) << "spreading over fewer peers is ordinary: " << plan.error().ToString();
  EXPECT_THAT(plan->given_up, IsEmpty());
  EXPECT_THAT(plan->warnings, ElementsAre(HasSubstr("peer 3 does not answer")));
}

TEST(RestorePlanTest, PrefersPeersWithFewerBytes) {
  Case world(1, 3);
  world.manifest.topology.peers.clear();
  world.Hold("docs", {{9}});
  Collection big = MakeCollection("big", {{1, 2}});
  big.bytes = 1'000'000;
  world.target.collections.push_back(big);
  EXPECT_THAT(PeersOf(world.One()), ElementsAre(ElementsAre(3)));
}

TEST(RestorePlanTest, ConsolidationNeedsPermissionAndSaysHowToUndoIt) {
  Case world(3, 1);
  world.Hold("docs", {{1, 2}, {2, 3}});
  EXPECT_THAT(world.Refusal(), HasSubstr("--allow-consolidation"));
  world.request.allow_consolidation = true;
  const auto plan = world.Plan();
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->collections[0].replication_factor, 1U);
  EXPECT_THAT(plan->given_up,
              ElementsAre(AllOf(HasSubstr("1 of 2 replicas"), HasSubstr("`holdfast rebalance`")),
                          HasSubstr("share one peer")));
}

TEST(RestorePlanTest, WhatWasOnOnePeerMayBeOnOnePeerAgain) {
  Case world(1, 1);
  CollectionRecord& record = world.Hold("docs", {{1}, {1}});
  EXPECT_THAT(world.Plan()->given_up, IsEmpty());
  // A stand-alone server takes any replication factor and makes one replica.
  record.collection.replication_factor = 2;
  const auto plan = world.Plan();
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  EXPECT_THAT(plan->warnings, ElementsAre(HasSubstr("1 of 2 replicas")));
}

// --- JSON ----------------------------------------------------------------------------------------

TEST(RestorePlanTest, JsonThatIsNoPlanIsRefused) {
  Case world(2, 2);
  world.Hold("docs", {{1, 2}}, {"live"});
  const std::string good = RestorePlanToJson(*world.Plan());
  ASSERT_TRUE(RestorePlanFromJson(good).ok());
  const auto spoilt = [&](const std::string& what, const std::string& with) {
    std::string text = good;
    const std::size_t at = text.find(what);
    if (at == std::string::npos) ADD_FAILURE() << what << " is not in " << text;
    text.replace(at, what.size(), with);
    return RestorePlanFromJson(text);
  };
  EXPECT_FALSE(RestorePlanFromJson("").ok());
  EXPECT_FALSE(RestorePlanFromJson("[]").ok());
  EXPECT_FALSE(spoilt("\"free\"", "\"freeish\"").ok());
  EXPECT_FALSE(spoilt("\"peers\":[1,2]", "\"peers\":[1,-2]").ok());
  EXPECT_FALSE(spoilt("\"aliases\":[\"live\"]", "\"aliases\":[1]").ok());
  EXPECT_FALSE(spoilt("\"target\"", "\"taget\"").ok());
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(RestorePlanFromJson(good.substr(0, size)).ok()) << size;
  }
}

// --- random clusters -----------------------------------------------------------------------------

/// A group and a target as chance has it: other peers, dead ones, avoided ones, replicas more or
/// fewer than configured, custom keys, names that are free.
Case RandomCase(Random& random) {
  Case world(static_cast<std::uint64_t>(random.Between(1, 7)),
             static_cast<std::uint64_t>(random.Between(1, 7)));
  // Ids overlap in part, as after some nodes were replaced.
  const auto shift = static_cast<std::uint64_t>(random.Between(0, 1) * random.Between(0, 7));
  for (Peer& peer : world.target.peers) {
    peer.id = PeerId(peer.id.value() + shift);
    peer.answers = random.Between(0, 5) != 0;
    if (random.Between(0, 7) == 0) world.request.avoid.push_back(peer.id);
  }
  const auto then = static_cast<std::int64_t>(world.manifest.topology.peers.size());
  for (std::int64_t c = random.Between(0, 5); c > 0; --c) {
    Placement placement;
    const std::int64_t style = random.Between(0, 2);
    const std::int64_t replicas = random.Between(1, then);
    for (std::int64_t s = random.Between(0, 12); s > 0; --s) {
      std::set<std::uint64_t> on;
      while (static_cast<std::int64_t>(on.size()) < replicas) {
        // As the server does, all in one place, or any.
        const std::int64_t turn = static_cast<std::int64_t>(on.size());
        const std::int64_t peer = style == 0   ? (s + turn) % then
                                  : style == 1 ? turn
                                               : random.Between(0, then - 1);
        on.insert(static_cast<std::uint64_t>(peer + 1));
      }
      placement.emplace_back(on.begin(), on.end());
    }
    CollectionRecord& record = world.Hold("c" + std::to_string(c), placement);
    if (random.Between(0, 3) == 0) {
      record.collection.replication_factor = static_cast<std::uint32_t>(random.Between(1, 4));
    }
    for (ShardImage& image : record.shards) {
      image.tar_bytes = static_cast<std::uint64_t>(random.Between(0, 1'000'000));
    }
  }
  for (std::int64_t c = random.Between(0, 3); c > 0; --c) {
    Collection other = MakeCollection("other" + std::to_string(c), {{1 + shift}, {2 + shift}});
    other.bytes = static_cast<std::uint64_t>(random.Between(0, 5'000'000));
    world.target.collections.push_back(other);
  }
  return world;
}

std::set<PeerId> Usable(const Case& world) {
  std::set<PeerId> usable;
  for (const Peer& peer : world.target.peers) {
    const auto& avoid = world.request.avoid;
    if (peer.answers && std::ranges::find(avoid, peer.id) == avoid.end()) usable.insert(peer.id);
  }
  return usable;
}

/// The design's words: a lowered replication, or all shards on one peer that were on several.
bool MustConsolidate(const CollectionRecord& record, std::size_t usable) {
  std::set<PeerId> then;
  std::size_t most = 0;
  for (const Shard& shard : record.collection.shards) {
    most = std::max(most, shard.replicas.size());
    for (const Replica& replica : shard.replicas) then.insert(replica.peer);
  }
  const std::size_t had =
      std::min<std::size_t>(most, std::max(1U, record.collection.replication_factor));
  return had > usable || (usable == 1 && then.size() > 1 && record.shards.size() > 1);
}

TEST(RestorePlanTest, HoldsItsRulesOverThousandsOfRandomClusters) {
  std::size_t consolidated = 0;
  std::size_t spread = 0;
  for (std::uint64_t seed = 0; seed < 5000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    Case world = RandomCase(random);
    const std::set<PeerId> usable = Usable(world);
    const bool gives_up = std::ranges::any_of(world.records, [&](const auto& entry) {
      return MustConsolidate(entry.second, usable.size());
    });
    if (usable.empty()) {
      EXPECT_THAT(world.Refusal(), HasSubstr("no peer of the target can be used"));
      continue;
    }
    EXPECT_EQ(world.Plan().ok(), !gives_up);
    world.request.allow_consolidation = true;
    const auto plan = world.Plan();
    ASSERT_TRUE(plan.ok()) << plan.error().ToString();
    EXPECT_EQ(!plan->given_up.empty(), gives_up);
    ++(gives_up ? consolidated : spread);

    const std::string json = RestorePlanToJson(*plan);
    EXPECT_EQ(json, RestorePlanToJson(*world.Plan())) << "the same twice";
    const auto again = RestorePlanFromJson(json);
    ASSERT_TRUE(again.ok()) << again.error().ToString();
    EXPECT_EQ(RestorePlanToJson(*again), json);

    ASSERT_EQ(plan->collections.size(), world.records.size());
    for (const CollectionPlan& item : plan->collections) {
      const CollectionRecord& record = world.records.at(item.source);
      const std::size_t replicas =
          std::min<std::size_t>(usable.size(), std::max(1U, record.collection.replication_factor));
      EXPECT_EQ(item.replication_factor, replicas);
      ASSERT_EQ(item.shards.size(), record.shards.size());
      std::map<PeerId, std::size_t> held;
      for (std::size_t i = 0; i < item.shards.size(); ++i) {
        const ShardPlacement& placement = item.shards[i];
        EXPECT_EQ(placement.shard, record.shards[i].shard);
        const std::set<PeerId> distinct(placement.peers.begin(), placement.peers.end());
        EXPECT_EQ(placement.peers.size(), replicas);
        EXPECT_EQ(distinct.size(), replicas) << "two replicas of a shard on one peer";
        EXPECT_TRUE(std::ranges::includes(usable, distinct)) << "a peer that must not be used";
        for (const PeerId peer : distinct) ++held[peer];
      }
      const std::size_t share = (item.shards.size() * replicas + usable.size() - 1) / usable.size();
      for (const auto& [peer, count] : held) EXPECT_LE(count, share) << peer.value();
    }
  }
  EXPECT_GT(consolidated, 300U);
  EXPECT_GT(spread, 1000U);
}

TEST(RestorePlanTest, MovesNothingThatIsEvenAlready) {
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    Random random(seed);
    const auto peers = static_cast<std::uint64_t>(random.Between(1, 8));
    Case world(peers, peers);
    const auto replicas = random.Between(1, static_cast<std::int64_t>(peers));
    Placement then;
    const auto shards = static_cast<std::uint64_t>(random.Between(1, 20));
    for (std::uint64_t s = 0; s < shards; ++s) {
      std::set<std::uint64_t> on;
      for (std::int64_t r = 0; r < replicas; ++r) {
        on.insert(
            (s * static_cast<std::uint64_t>(replicas) + static_cast<std::uint64_t>(r)) % peers + 1);
      }
      then.emplace_back(on.begin(), on.end());
    }
    world.Hold("docs", then);
    EXPECT_EQ(PeersOf(world.One()), then) << "seed " << seed;
  }
}

}  // namespace
}  // namespace holdfast
