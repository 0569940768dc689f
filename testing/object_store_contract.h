// What every ObjectStore promises, as tests. Included by one file of a test program, which says for
// which stores they run:
//
//   INSTANTIATE_TEST_SUITE_P(Memory, ObjectStoreContract,
//                            ::testing::Values(StoreUnderTest{"memory", MakeMemory}), StoreName);

#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <latch>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "store/object_store.h"

namespace holdfast::testing {

/// Owns a store that is empty, and what it stands on.
class StoreFixture {
 public:
  virtual ~StoreFixture() = default;
  virtual ObjectStore& store() = 0;
};

struct StoreUnderTest {
  const char* name;
  /// A fixture; or nothing, with the reason in `why_not`: the tests are then skipped by name.
  std::function<std::unique_ptr<StoreFixture>(std::string& why_not)> make;
  /// Objects put for the test of long listings; more than two pages.
  std::size_t many = 2 * ObjectStore::kListPageMax + 1;
};

inline std::string StoreName(const ::testing::TestParamInfo<StoreUnderTest>& info) {
  return info.param.name;
}

inline void PrintTo(const StoreUnderTest& store, std::ostream* out) { *out << store.name; }

inline Bytes Body(std::string_view text) { return ToBytes(AsBytes(text)); }

/// Bytes that no compressor and no mistake of an offset can hide.
inline Bytes Noise(std::size_t size, std::uint64_t seed) {
  Bytes bytes(size);
  std::uint64_t state = seed * 2 + 1;
  for (std::byte& byte : bytes) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    byte = static_cast<std::byte>(state >> 56);
  }
  return bytes;
}

class ObjectStoreContract : public ::testing::TestWithParam<StoreUnderTest> {
 protected:
  void SetUp() override {
    std::string why_not;
    fixture_ = GetParam().make(why_not);
    if (fixture_ == nullptr) GTEST_SKIP() << GetParam().name << ": " << why_not;
  }

  ObjectStore& store() { return fixture_->store(); }

  void MustPut(std::string_view key, const ObjectBody& body, PutMode mode = PutMode::kReplace) {
    const Status put = store().Put({}, key, body, mode);
    ASSERT_TRUE(put.ok()) << key << ": " << put.error().ToString();
  }

  std::string TextOf(std::string_view key) {
    const auto got = store().Get({}, key);
    return got.ok() ? std::string(AsText(*got)) : got.error().ToString();
  }

  std::vector<std::string> KeysOf(std::string_view prefix, std::string_view after = {}) {
    const auto page = store().List({}, prefix, after);
    EXPECT_TRUE(page.ok()) << page.error().ToString();
    std::vector<std::string> keys;
    if (page.ok()) {
      for (const StoredObject& object : *page) keys.push_back(object.key);
    }
    return keys;
  }

  /// All pages together; checks their sizes.
  std::vector<std::string> AllKeysOf(std::string_view prefix) {
    std::vector<std::string> all;
    for (;;) {
      const std::vector<std::string> page = KeysOf(prefix, all.empty() ? "" : all.back());
      EXPECT_LE(page.size(), ObjectStore::kListPageMax);
      all.insert(all.end(), page.begin(), page.end());
      if (page.size() < ObjectStore::kListPageMax) return all;
    }
  }

  template <class T>
  static ErrorCode CodeOf(const Result<T>& result) {
    EXPECT_FALSE(result.ok());
    return result.ok() ? ErrorCode::kInternal : result.error().code();
  }

  std::unique_ptr<StoreFixture> fixture_;
};

// --- put and get -------------------------------------------------------------------------------

TEST_P(ObjectStoreContract, GivesBackWhatWasPut) {
  MustPut("packs/ab", Body("some bytes"));

  EXPECT_EQ(TextOf("packs/ab"), "some bytes");
}

TEST_P(ObjectStoreContract, KeepsAnEmptyObject) {
  MustPut("empty", Bytes());

  EXPECT_EQ(TextOf("empty"), "");
  const auto stat = store().Stat({}, "empty");
  ASSERT_TRUE(stat.ok()) << stat.error().ToString();
  EXPECT_EQ(stat->size, 0U);
}

TEST_P(ObjectStoreContract, JoinsTheParts) {
  const Bytes a = Body("one ");
  const Bytes b = Body("two ");
  const Bytes c = Body("three");

  MustPut("parts", ObjectBody({a, b, ByteView(), c}));

  EXPECT_EQ(TextOf("parts"), "one two three");
}

TEST_P(ObjectStoreContract, KeepsEveryByteOfALargeObject) {
  const Bytes large = Noise(ObjectStore::kObjectSizeMax, 1);

  MustPut("large", large);

  const auto got = store().Get({}, "large");
  ASSERT_TRUE(got.ok()) << got.error().ToString();
  EXPECT_TRUE(*got == large);
  const auto end = store().Get({}, "large", ByteRange{.offset = large.size() - 3, .size = 3});
  ASSERT_TRUE(end.ok()) << end.error().ToString();
  EXPECT_TRUE(std::ranges::equal(*end, ByteView(large).last(3)));
}

TEST_P(ObjectStoreContract, RefusesAnObjectThatIsTooLarge) {
  const Bytes large(ObjectStore::kObjectSizeMax + 1);

  EXPECT_EQ(CodeOf(store().Put({}, "large", large, PutMode::kReplace)),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(store().Stat({}, "large")), ErrorCode::kNotFound);
}

TEST_P(ObjectStoreContract, ReplacesAsAWhole) {
  MustPut("key", Body("a long first version"));
  MustPut("key", Body("second"));

  EXPECT_EQ(TextOf("key"), "second");
  const auto page = store().List({}, "key", "");
  ASSERT_TRUE(page.ok());
  ASSERT_EQ(page->size(), 1U);
  EXPECT_EQ(page->at(0).size, 6U);
}

TEST_P(ObjectStoreContract, SaysSoWhenThereIsNothing) {
  EXPECT_EQ(CodeOf(store().Get({}, "nothing")), ErrorCode::kNotFound);
  EXPECT_EQ(CodeOf(store().Get({}, "nothing", ByteRange{.offset = 0, .size = 1})),
            ErrorCode::kNotFound);
  EXPECT_EQ(CodeOf(store().Get({}, "nothing", ByteRange{.offset = 0, .size = 0})),
            ErrorCode::kNotFound);
  EXPECT_EQ(CodeOf(store().Stat({}, "nothing")), ErrorCode::kNotFound);
  EXPECT_EQ(CodeOf(store().Get({}, "no/such/folder")), ErrorCode::kNotFound);
}

TEST_P(ObjectStoreContract, AFolderIsNoObject) {
  MustPut("folder/key", Body("x"));

  EXPECT_EQ(CodeOf(store().Get({}, "folder")), ErrorCode::kNotFound);
  EXPECT_EQ(CodeOf(store().Stat({}, "folder")), ErrorCode::kNotFound);
  EXPECT_EQ(CodeOf(store().Get({}, "folder/key/more")), ErrorCode::kNotFound);
  EXPECT_TRUE(store().Delete({}, "folder").ok());
  EXPECT_EQ(TextOf("folder/key"), "x");
}

// --- ranges ------------------------------------------------------------------------------------

TEST_P(ObjectStoreContract, ReadsRanges) {
  MustPut("digits", Body("0123456789"));
  const auto range = [&](std::uint64_t offset, std::uint64_t size) {
    const auto got = store().Get({}, "digits", ByteRange{.offset = offset, .size = size});
    return got.ok() ? std::string(AsText(*got)) : got.error().ToString();
  };

  EXPECT_EQ(range(0, 1), "0");
  EXPECT_EQ(range(3, 4), "3456");
  EXPECT_EQ(range(9, 1), "9");
  EXPECT_EQ(range(0, 10), "0123456789");
  EXPECT_EQ(range(4, 0), "");
  EXPECT_EQ(range(10, 0), "");
}

TEST_P(ObjectStoreContract, RefusesRangesThatAreNotAllInside) {
  MustPut("digits", Body("0123456789"));
  constexpr std::uint64_t kHuge = ~std::uint64_t{0};
  for (const ByteRange range :
       {ByteRange{0, 11}, ByteRange{9, 2}, ByteRange{10, 1}, ByteRange{11, 0}, ByteRange{100, 5},
        ByteRange{kHuge, 1}, ByteRange{1, kHuge}, ByteRange{kHuge, kHuge}}) {
    EXPECT_EQ(CodeOf(store().Get({}, "digits", range)), ErrorCode::kInvalidArgument)
        << range.offset << " " << range.size;
  }
}

// --- only if absent ----------------------------------------------------------------------------

TEST_P(ObjectStoreContract, NeverOverwritesWhenAskedNotTo) {
  MustPut("folder/key", Body("first"), PutMode::kIfAbsent);

  EXPECT_EQ(CodeOf(store().Put({}, "folder/key", Body("second"), PutMode::kIfAbsent)),
            ErrorCode::kAlreadyExists);
  EXPECT_EQ(TextOf("folder/key"), "first");
}

TEST_P(ObjectStoreContract, OneOfManyRacingCreatorsWins) {
  constexpr int kWriters = 8;
  constexpr int kRounds = 10;
  for (int round = 0; round < kRounds; ++round) {
    const std::string key = "race/" + std::to_string(round);
    std::latch start(kWriters);
    std::atomic<int> winner = -1;
    std::atomic<int> won = 0;
    std::atomic<int> lost = 0;
    {
      std::vector<std::jthread> writers;
      for (int i = 0; i < kWriters; ++i) {
        writers.emplace_back([&, i] {
          const Bytes mine = Noise(50'000, static_cast<std::uint64_t>(i));
          start.arrive_and_wait();
          const Status put = store().Put({}, key, mine, PutMode::kIfAbsent);
          if (put.ok()) {
            winner = i;
            ++won;
          } else if (put.error().code() == ErrorCode::kAlreadyExists) {
            ++lost;
          } else {
            ADD_FAILURE() << put.error().ToString();
          }
        });
      }
    }
    ASSERT_EQ(won, 1);
    ASSERT_EQ(lost, kWriters - 1);
    const auto got = store().Get({}, key);
    ASSERT_TRUE(got.ok()) << got.error().ToString();
    EXPECT_TRUE(*got == Noise(50'000, static_cast<std::uint64_t>(winner.load())));
  }
}

TEST_P(ObjectStoreContract, AReaderNeverSeesAMixtureOrAPart) {
  const std::array<Bytes, 2> versions = {Noise(300'000, 1), Noise(200'000, 2)};
  MustPut("key", versions[0]);
  std::atomic<bool> done = false;
  const std::jthread writer([&] {
    for (int i = 0; i < 20; ++i) {
      EXPECT_TRUE(store().Put({}, "key", versions[(i + 1) % 2], PutMode::kReplace).ok());
    }
    done = true;
  });
  while (!done) {
    const auto got = store().Get({}, "key");
    ASSERT_TRUE(got.ok()) << got.error().ToString();
    ASSERT_TRUE(*got == versions[0] || *got == versions[1]) << got->size();
  }
}

// --- delete ------------------------------------------------------------------------------------

TEST_P(ObjectStoreContract, DeletesWhatIsThereAndWhatIsNot) {
  MustPut("folder/a", Body("a"));
  MustPut("folder/b", Body("b"));

  EXPECT_TRUE(store().Delete({}, "folder/a").ok());
  EXPECT_TRUE(store().Delete({}, "folder/a").ok());
  EXPECT_TRUE(store().Delete({}, "never/was/there").ok());

  EXPECT_EQ(CodeOf(store().Get({}, "folder/a")), ErrorCode::kNotFound);
  EXPECT_THAT(KeysOf(""), ::testing::ElementsAre("folder/b"));
  MustPut("folder/a", Body("again"), PutMode::kIfAbsent);
  EXPECT_EQ(TextOf("folder/a"), "again");
}

// --- list --------------------------------------------------------------------------------------

TEST_P(ObjectStoreContract, ListsInByteOrderAcrossFolders) {
  // The order of whole keys, not of folders: '-' < '.' < '/' < '0' < 'A' < '_' < 'a'.
  const std::vector<std::string> keys = {"a-b", "a.b", "a/b", "a/b-c", "a/c/d", "a/d",
                                         "a0",  "aA",  "a_",  "aa/b",  "b"};
  ASSERT_TRUE(std::ranges::is_sorted(keys));
  for (std::size_t i = 0; i < keys.size(); ++i) MustPut(keys[(i * 7) % keys.size()], Body("x"));

  EXPECT_EQ(KeysOf(""), keys);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    EXPECT_EQ(
        KeysOf("", keys[i]),
        std::vector<std::string>(keys.begin() + static_cast<std::ptrdiff_t>(i) + 1, keys.end()))
        << "after " << keys[i];
  }
}

TEST_P(ObjectStoreContract, ListsByPrefixWhichIsATextAndNotAFolder) {
  for (const char* key : {"groups/g1", "groups/g2", "groupsets/s", "images/g1/i", "images/g1/i.00",
                          "images/g12/i", "holdfast.json"}) {
    MustPut(key, Body(key));
  }

  EXPECT_THAT(KeysOf("groups/"), ::testing::ElementsAre("groups/g1", "groups/g2"));
  EXPECT_THAT(KeysOf("groups"), ::testing::ElementsAre("groups/g1", "groups/g2", "groupsets/s"));
  EXPECT_THAT(KeysOf("images/g1/"), ::testing::ElementsAre("images/g1/i", "images/g1/i.00"));
  EXPECT_THAT(KeysOf("images/g1"),
              ::testing::ElementsAre("images/g1/i", "images/g1/i.00", "images/g12/i"));
  EXPECT_THAT(KeysOf("images/g1/i."), ::testing::ElementsAre("images/g1/i.00"));
  EXPECT_THAT(KeysOf("groups/", "groups/g1"), ::testing::ElementsAre("groups/g2"));
  EXPECT_THAT(KeysOf("groups/", "zzz"), ::testing::IsEmpty());
  EXPECT_THAT(KeysOf("groups/", "a"), ::testing::ElementsAre("groups/g1", "groups/g2"));
  EXPECT_THAT(KeysOf("nothing/"), ::testing::IsEmpty());
  EXPECT_THAT(KeysOf("groups/g1/"), ::testing::IsEmpty());
  EXPECT_THAT(KeysOf("../"), ::testing::IsEmpty());
}

TEST_P(ObjectStoreContract, ListsTheSizesAndTimesThatStatTells) {
  MustPut("a", Body("12345"));
  MustPut("b/c", Body("1"));

  const auto page = store().List({}, "", "");
  ASSERT_TRUE(page.ok()) << page.error().ToString();
  ASSERT_EQ(page->size(), 2U);
  for (const StoredObject& listed : *page) {
    const auto stat = store().Stat({}, listed.key);
    ASSERT_TRUE(stat.ok()) << stat.error().ToString();
    EXPECT_EQ(listed.key, stat->key);
    EXPECT_EQ(listed.size, stat->size);
    // One of the two may be cut to seconds.
    EXPECT_LT(std::chrono::abs(listed.last_modified - stat->last_modified),
              std::chrono::seconds(1));
  }
  EXPECT_EQ(page->at(0).size, 5U);
}

TEST_P(ObjectStoreContract, TimesNeverGoBackFromPutToPut) {
  MustPut("first", Body("x"));
  MustPut("second", Body("x"));
  MustPut("first", Body("y"));

  const auto first = store().Stat({}, "first");
  const auto second = store().Stat({}, "second");
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_GE(first->last_modified, second->last_modified);
}

TEST_P(ObjectStoreContract, ListsMoreThanAPage) {
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < GetParam().many; ++i) {
    // Some in one large folder, some each in a folder of its own.
    std::string number = std::to_string(100'000 + i).substr(1);
    keys.push_back(i % 10 == 0 ? "many/" + number + "/x" : "many/" + number);
  }
  std::atomic<std::size_t> next = 0;
  {
    std::vector<std::jthread> writers;
    for (int i = 0; i < 8; ++i) {
      writers.emplace_back([&] {
        for (std::size_t n = next++; n < keys.size(); n = next++) {
          const Status put = store().Put({}, keys[n], Body("x"), PutMode::kReplace);
          if (!put.ok()) ADD_FAILURE() << keys[n] << ": " << put.error().ToString();
        }
      });
    }
  }
  MustPut("many-other", Body("x"));

  EXPECT_EQ(KeysOf("many/").size(), ObjectStore::kListPageMax);
  EXPECT_EQ(AllKeysOf("many/"), keys);
  EXPECT_EQ(AllKeysOf("").size(), keys.size() + 1);
}

// --- keys --------------------------------------------------------------------------------------

TEST_P(ObjectStoreContract, TakesOddKeys) {
  std::vector<std::string> keys = {
      "a b",
      " leading and trailing ",
      "plus+and%20percent",
      "a=b&c?d#e",
      "~()!*'$,;:@",
      "quote\"<tag>&amp;|^`{}[]",
      "x/%2e%2e/y",
      "UPPER",
      "upper",
      std::string(200, 's'),
      std::string(200, 't') + "/" + std::string(200, 'u') + "/" + std::string(110, 'v')};
  for (const std::string& key : keys) MustPut(key, Body(key));

  for (const std::string& key : keys) {
    EXPECT_EQ(TextOf(key), key);
    EXPECT_EQ(KeysOf(key), std::vector<std::string>{key});
    EXPECT_EQ(CodeOf(store().Put({}, key, Body("x"), PutMode::kIfAbsent)),
              ErrorCode::kAlreadyExists);
  }
  std::ranges::sort(keys);
  EXPECT_EQ(KeysOf(""), keys);
  for (const std::string& key : keys) EXPECT_TRUE(store().Delete({}, key).ok());
  EXPECT_THAT(KeysOf(""), ::testing::IsEmpty());
}

TEST_P(ObjectStoreContract, RefusesWhatIsNoKey) {
  for (const std::string& key :
       {std::string(), std::string("/a"), std::string("a/"), std::string("a//b"),
        std::string("../a"), std::string("a/../b"), std::string("a/./b"), std::string("."),
        std::string(".hidden"), std::string("a/.hidden"), std::string("a\\b"), std::string("a\nb"),
        std::string("a\0b", 3), std::string("\xc3\xbc"), std::string("\x7f"), std::string(201, 'a'),
        std::string(400, 'a'), std::string(256, 'a') + "/" + std::string(256, 'b')}) {
    EXPECT_EQ(CodeOf(store().Put({}, key, Body("x"), PutMode::kReplace)),
              ErrorCode::kInvalidArgument)
        << key;
    EXPECT_EQ(CodeOf(store().Get({}, key)), ErrorCode::kInvalidArgument) << key;
    EXPECT_EQ(CodeOf(store().Stat({}, key)), ErrorCode::kInvalidArgument) << key;
    EXPECT_EQ(CodeOf(store().Delete({}, key)), ErrorCode::kInvalidArgument) << key;
  }
}

// --- the caller's end --------------------------------------------------------------------------

TEST_P(ObjectStoreContract, ACallThatHasEndedDoesNothing) {
  MustPut("key", Body("x"));
  std::stop_source stop;
  stop.request_stop();
  const CallContext call{.stop = stop.get_token(), .deadline = {}};

  EXPECT_EQ(CodeOf(store().Put(call, "other", Body("x"), PutMode::kReplace)),
            ErrorCode::kCancelled);
  EXPECT_EQ(CodeOf(store().Get(call, "key")), ErrorCode::kCancelled);
  EXPECT_EQ(CodeOf(store().Stat(call, "key")), ErrorCode::kCancelled);
  EXPECT_EQ(CodeOf(store().List(call, "", "")), ErrorCode::kCancelled);
  EXPECT_EQ(CodeOf(store().Delete(call, "key")), ErrorCode::kCancelled);
  EXPECT_THAT(KeysOf(""), ::testing::ElementsAre("key"));
}

TEST_P(ObjectStoreContract, SaysWhereItIs) { EXPECT_FALSE(store().Describe().empty()); }

}  // namespace holdfast::testing
