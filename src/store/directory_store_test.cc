#include "store/directory_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "testing/temp_folder.h"

namespace holdfast {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::array kAllSteps = {DirectoryStep::kCreateTemporary, DirectoryStep::kWrite,
                                  DirectoryStep::kSyncFile,        DirectoryStep::kPublish,
                                  DirectoryStep::kRemoveTemporary, DirectoryStep::kSyncDirectory};

class DirectoryStoreTest : public ::testing::Test {
 protected:
  static Bytes Body(std::string_view text) { return ToBytes(AsBytes(text)); }

  std::unique_ptr<DirectoryStore> Open(DirectoryStoreOptions options = {}) {
    auto store = DirectoryStore::Open(SystemClock(), root().string(), std::move(options));
    EXPECT_TRUE(store.ok()) << store.error().ToString();
    return store.ok() ? *std::move(store) : nullptr;
  }

  std::filesystem::path root() const { return folder_.path(); }

  std::size_t Temporaries() const {
    std::error_code none;
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator(root() / ".holdfast-tmp", none)) {
      ++count;
    }
    return count;
  }

  static std::string TextOf(ObjectStore& store, std::string_view key) {
    const auto got = store.Get({}, key);
    return got.ok() ? std::string(AsText(*got)) : std::string(ErrorCodeName(got.error().code()));
  }

  static std::vector<std::string> KeysOf(ObjectStore& store) {
    std::vector<std::string> keys;
    const auto page = store.List({}, "", "");
    EXPECT_TRUE(page.ok());
    if (page.ok()) {
      for (const StoredObject& object : *page) keys.push_back(object.key);
    }
    return keys;
  }

  testing::TempFolder folder_;
};

// --- opening -----------------------------------------------------------------------------------

TEST_F(DirectoryStoreTest, AMissingDirectoryIsNotMadeUnasked) {
  const std::string path = (root() / "a/b").string();

  const auto opened = DirectoryStore::Open(SystemClock(), path);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code(), ErrorCode::kNotFound);
  EXPECT_THAT(opened.error().message(), HasSubstr(path));
  EXPECT_THAT(opened.error().hint(), HasSubstr("mounted"));

  EXPECT_TRUE(DirectoryStore::Open(SystemClock(), path, {.create = true}).ok());
  EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms::owner_all);
}

TEST_F(DirectoryStoreTest, ARelativePathOrAFileIsRefused) {
  std::ofstream(root() / "file") << "x";

  EXPECT_EQ(DirectoryStore::Open(SystemClock(), "some/where").error().code(),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(DirectoryStore::Open(SystemClock(), "").error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(DirectoryStore::Open(SystemClock(), (root() / "file").string()).error().code(),
            ErrorCode::kInvalidArgument);
}

// --- files -------------------------------------------------------------------------------------

TEST_F(DirectoryStoreTest, NobodyElseMayReadWhatIsStored) {
  const auto store = Open();
  const mode_t before = umask(0);
  const Status put = store->Put({}, "packs/g/p", Body("x"), PutMode::kReplace);
  umask(before);

  ASSERT_TRUE(put.ok());
  const auto mode = [&](const char* path) {
    return static_cast<unsigned>(std::filesystem::status(root() / path).permissions());
  };
  EXPECT_EQ(mode("packs/g/p"), 0600U);
  EXPECT_EQ(mode("packs/g"), 0700U);
  EXPECT_EQ(mode("packs"), 0700U);
  EXPECT_EQ(mode(".holdfast-tmp"), 0700U);
}

TEST_F(DirectoryStoreTest, AFinishedPutLeavesNoTemporaryFile) {
  const auto store = Open();

  ASSERT_TRUE(store->Put({}, "a", Body("x"), PutMode::kReplace).ok());
  ASSERT_TRUE(store->Put({}, "a", Body("y"), PutMode::kReplace).ok());
  ASSERT_TRUE(store->Put({}, "b", Body("x"), PutMode::kIfAbsent).ok());
  ASSERT_FALSE(store->Put({}, "b", Body("x"), PutMode::kIfAbsent).ok());

  EXPECT_EQ(Temporaries(), 0U);
}

TEST_F(DirectoryStoreTest, WhatIsNoObjectIsNotListed) {
  const auto store = Open();
  ASSERT_TRUE(store->Put({}, "a/b", Body("x"), PutMode::kReplace).ok());
  std::filesystem::create_directories(root() / "empty/folder");
  std::filesystem::create_symlink(root() / "a/b", root() / "link");
  std::filesystem::create_directory_symlink(root() / "a", root() / "folder-link");
  std::ofstream(root() / ".hidden") << "x";
  std::ofstream(root() / "back\\slash") << "x";
  ASSERT_EQ(mkfifo((root() / "pipe").c_str(), 0600), 0);

  EXPECT_THAT(KeysOf(*store), ElementsAre("a/b"));
  EXPECT_EQ(TextOf(*store, "link"), "not_found");
  EXPECT_EQ(TextOf(*store, "pipe"), "not_found");
  EXPECT_EQ(store->Stat({}, "link").error().code(), ErrorCode::kNotFound);
}

TEST_F(DirectoryStoreTest, AKeyBelowAnObjectIsRefused) {
  const auto store = Open();
  ASSERT_TRUE(store->Put({}, "a", Body("x"), PutMode::kReplace).ok());
  ASSERT_TRUE(store->Put({}, "d/e", Body("x"), PutMode::kReplace).ok());

  EXPECT_EQ(store->Put({}, "a/b", Body("y"), PutMode::kReplace).error().code(),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(store->Put({}, "d", Body("y"), PutMode::kReplace).error().code(),
            ErrorCode::kInvalidArgument);
  EXPECT_THAT(KeysOf(*store), ElementsAre("a", "d/e"));
}

TEST_F(DirectoryStoreTest, ALargeFolderOfOtherThingsDoesNotHideTheRest) {
  const auto store = Open();
  // More empty folders than fit a page come first.
  for (int i = 0; i < 1100; ++i) {
    std::filesystem::create_directory(root() / ("empty-" + std::to_string(i)));
  }
  ASSERT_TRUE(store->Put({}, "last/one", Body("x"), PutMode::kReplace).ok());

  EXPECT_THAT(KeysOf(*store), ElementsAre("last/one"));
}

TEST_F(DirectoryStoreTest, AFolderThatSomebodyRemovedIsMadeAgain) {
  const auto store = Open();
  ASSERT_TRUE(store->Put({}, "a/b/c", Body("x"), PutMode::kReplace).ok());
  std::filesystem::remove_all(root() / "a");

  const Status put = store->Put({}, "a/b/d", Body("y"), PutMode::kReplace);

  EXPECT_TRUE(put.ok()) << put.error().ToString();
  EXPECT_THAT(KeysOf(*store), ElementsAre("a/b/d"));
}

// --- faults ------------------------------------------------------------------------------------

TEST_F(DirectoryStoreTest, NoRoomNamesThePathAndTheFreeSpace) {
  const auto store = Open({.fault = [](DirectoryStep step, const std::string&) {
    return step == DirectoryStep::kWrite ? ENOSPC : 0;
  }});

  const Status put = store->Put({}, "packs/ab", Body("x"), PutMode::kReplace);

  ASSERT_FALSE(put.ok());
  EXPECT_EQ(put.error().code(), ErrorCode::kResourceExhausted);
  EXPECT_THAT(put.error().message(),
              AllOf(HasSubstr(root().string()), HasSubstr("iB free"), HasSubstr("No space left")));
  EXPECT_FALSE(put.error().hint().empty());
  EXPECT_EQ(Temporaries(), 0U);
}

TEST_F(DirectoryStoreTest, ARealFullDiskIsNoDifferent) {
  // Files of this process may not grow beyond this; the kernel says EFBIG instead of ENOSPC.
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto store = Open();
    const rlimit limit{.rlim_cur = 1000, .rlim_max = 1000};
    std::signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(2);
    const Status put = store->Put({}, "large", Bytes(5000), PutMode::kReplace);
    _exit(!put.ok() && put.error().code() == ErrorCode::kResourceExhausted ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(Temporaries(), 0U);
  EXPECT_THAT(KeysOf(*Open()), IsEmpty());
}

TEST_F(DirectoryStoreTest, AFaultAtAnyStepLeavesOldOrNew) {
  for (const PutMode mode : {PutMode::kReplace, PutMode::kIfAbsent}) {
    for (const bool links : {false, true}) {
      for (const DirectoryStep at : kAllSteps) {
        const auto store = Open({.rename_without_replace = !links,
                                 .fault = [&](DirectoryStep step, const std::string&) {
                                   return step == at ? EIO : 0;
                                 }});
        const std::string old = mode == PutMode::kReplace ? "old" : "not_found";
        ASSERT_TRUE(Open()->Delete({}, "f/key").ok());
        if (mode == PutMode::kReplace) {
          ASSERT_TRUE(Open()->Put({}, "f/key", Body("old"), PutMode::kReplace).ok());
        }

        const Status put = store->Put({}, "f/key", Body("new"), mode);

        if (put.ok()) {
          EXPECT_EQ(TextOf(*store, "f/key"), "new");
        } else {
          EXPECT_EQ(put.error().code(), ErrorCode::kUnavailable);
          EXPECT_THAT(TextOf(*store, "f/key"), ::testing::AnyOf(old, "new"));
        }
        EXPECT_EQ(Temporaries(), 0U);
      }
    }
  }
}

TEST_F(DirectoryStoreTest, AProcessKilledAtAnyStepLeavesOldOrNewAndALeftoverAtMost) {
  for (const PutMode mode : {PutMode::kReplace, PutMode::kIfAbsent}) {
    for (const bool links : {false, true}) {
      for (const DirectoryStep at : kAllSteps) {
        const std::string old = mode == PutMode::kReplace ? "old" : "not_found";
        ASSERT_TRUE(Open()->Delete({}, "f/key").ok());
        if (mode == PutMode::kReplace) {
          ASSERT_TRUE(Open()->Put({}, "f/key", Body("old"), PutMode::kReplace).ok());
        }
        const pid_t child = fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
          const auto store = Open({.rename_without_replace = !links,
                                   .fault = [&](DirectoryStep step, const std::string&) {
                                     if (step == at) _exit(9);
                                     return 0;
                                   }});
          _exit(store->Put({}, "f/key", Body("new"), mode).ok() ? 0 : 1);
        }
        int status = 0;
        ASSERT_EQ(waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFEXITED(status));
        ASSERT_NE(WEXITSTATUS(status), 1);

        const auto store = Open();
        EXPECT_THAT(TextOf(*store, "f/key"), ::testing::AnyOf(old, "new"));
        EXPECT_LE(Temporaries(), 1U);
        const std::size_t before = Temporaries();
        const auto removed = store->RemoveLeftovers({});
        ASSERT_TRUE(removed.ok());
        EXPECT_EQ(*removed, before);
        EXPECT_EQ(Temporaries(), 0U);
      }
    }
  }
}

TEST_F(DirectoryStoreTest, SyncsTheFileBeforeItHasItsNameAndEveryDirectoryBehindIt) {
  std::vector<std::pair<DirectoryStep, std::string>> steps;
  const auto store = Open({.fault = [&](DirectoryStep step, const std::string& path) {
    steps.emplace_back(step, path.starts_with(".holdfast-tmp/") ? "temporary" : path);
    return 0;
  }});
  using enum DirectoryStep;

  ASSERT_TRUE(store->Put({}, "a/b/key", Body("x"), PutMode::kReplace).ok());
  EXPECT_THAT(steps, ElementsAre(std::pair(kCreateTemporary, "temporary"),
                                 // Again, after the folder of temporary files was made.
                                 std::pair(kCreateTemporary, "temporary"),
                                 std::pair(kWrite, "temporary"), std::pair(kSyncFile, "temporary"),
                                 std::pair(kSyncDirectory, "."), std::pair(kSyncDirectory, "a"),
                                 std::pair(kPublish, "a/b/key"), std::pair(kSyncDirectory, "a/b")));

  steps.clear();
  ASSERT_TRUE(store->Put({}, "a/b/other", Body("x"), PutMode::kIfAbsent).ok());
  EXPECT_THAT(steps,
              ElementsAre(std::pair(kCreateTemporary, "temporary"), std::pair(kWrite, "temporary"),
                          std::pair(kSyncFile, "temporary"), std::pair(kPublish, "a/b/other"),
                          std::pair(kSyncDirectory, "a/b")));
}

// --- leftovers and other processes -------------------------------------------------------------

TEST_F(DirectoryStoreTest, AFileThatIsBeingWrittenIsNoLeftover) {
  const auto cleaner = Open();
  std::size_t removed = 99;
  const auto store = Open({.fault = [&](DirectoryStep step, const std::string&) {
    if (step == DirectoryStep::kPublish) removed = *cleaner->RemoveLeftovers({});
    return 0;
  }});

  EXPECT_TRUE(store->Put({}, "a", Body("x"), PutMode::kReplace).ok());

  EXPECT_EQ(removed, 0U);
  EXPECT_EQ(TextOf(*store, "a"), "x");
}

TEST_F(DirectoryStoreTest, NothingToCleanIsNoError) { EXPECT_EQ(*Open()->RemoveLeftovers({}), 0U); }

TEST_F(DirectoryStoreTest, ManyProcessesMayWriteAndCleanAtOnce) {
  constexpr int kProcesses = 4;
  constexpr int kObjects = 50;
  std::vector<pid_t> children;
  for (int process = 0; process < kProcesses; ++process) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const auto store = Open();
      bool good = true;
      for (int i = 0; i < kObjects; ++i) {
        const std::string own = "g/" + std::to_string(process) + "/" + std::to_string(i);
        good = good && store->Put({}, own, Body(own), PutMode::kReplace).ok();
        good = good && store->Put({}, "shared", Body(own), PutMode::kReplace).ok();
        const Status first =
            store->Put({}, "first/" + std::to_string(i), Body(own), PutMode::kIfAbsent);
        good = good && (first.ok() || first.error().code() == ErrorCode::kAlreadyExists);
        good = good && store->RemoveLeftovers({}).ok();
      }
      _exit(good ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  const auto store = Open();
  EXPECT_EQ(KeysOf(*store).size(), static_cast<std::size_t>(kProcesses * kObjects + kObjects + 1));
  for (const std::string& key : KeysOf(*store)) {
    if (key.starts_with("g/")) {
      EXPECT_EQ(TextOf(*store, key), key);
    }
  }
  EXPECT_EQ(Temporaries(), 0U);
}

TEST_F(DirectoryStoreTest, TellsTheFreeSpace) { EXPECT_GT(*Open()->FreeBytes(), 0U); }

}  // namespace
}  // namespace holdfast
