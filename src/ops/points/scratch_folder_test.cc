#include "ops/points/scratch_folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "testing/temp_folder.h"

namespace holdfast {
namespace {

namespace fs = std::filesystem;

std::size_t Entries(const fs::path& folder) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(ScratchFolderTest, IsPrivateAndGoneWithWhatItHolds) {
  const testing::TempFolder parent;
  std::string path;
  {
    const auto folder = ScratchFolder::Make(parent.path());
    ASSERT_TRUE(folder.ok()) << folder.error().ToString();
    path = (*folder)->path();
    struct stat about{};
    ASSERT_EQ(::stat(path.c_str(), &about), 0);
    EXPECT_EQ(about.st_mode & 07777U, 0700U);
    fs::create_directories(path + "/a/b");
    std::ofstream(path + "/a/b/file") << "content";
  }
  EXPECT_FALSE(fs::exists(path));
  EXPECT_EQ(Entries(parent.path()), 0U);
}

TEST(ScratchFolderTest, WhatAKilledProcessLeftIsRemovedAndWhatLivesStays) {
  const testing::TempFolder parent;
  const auto mine = ScratchFolder::Make(parent.path());
  ASSERT_TRUE(mine.ok());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto left = ScratchFolder::Make(parent.path());
    if (left.ok()) std::ofstream((*left)->path() + "/image.tar") << "unsealed";
    ::_exit(left.ok() ? 0 : 1);  // As if killed: no destructor runs.
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  ASSERT_EQ(Entries(parent.path()), 2U);
  const auto next = ScratchFolder::Make(parent.path());
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(Entries(parent.path()), 2U);
  EXPECT_TRUE(fs::exists((*mine)->path()));
  EXPECT_TRUE(fs::exists((*next)->path()));
}

TEST(ScratchFolderTest, ManyAtOnceLeaveEachOtherAlone) {
  const testing::TempFolder parent;
  std::atomic<int> lost = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 40; ++i) {
          const auto folder = ScratchFolder::Make(parent.path());
          if (!folder.ok() || !fs::exists((*folder)->path() + "/lock")) ++lost;
        }
      });
    }
  }
  EXPECT_EQ(lost, 0);
  EXPECT_EQ(Entries(parent.path()), 0U);
}

TEST(ScratchFolderTest, NothingElseIsTouched) {
  const testing::TempFolder parent;
  const testing::TempFolder elsewhere;
  std::ofstream(elsewhere.path() / "precious") << "x";
  fs::create_directory(parent.path() / "holdfast-other");
  // Just made by another process, or by chance of that name: not old enough to be judged.
  fs::create_directory(parent.path() / "holdfast-scratch-young");
  fs::create_directory_symlink(elsewhere.path(), parent.path() / "holdfast-scratch-link");
  std::ofstream(parent.path() / "holdfast-scratch-file") << "x";
  fs::create_directory(parent.path() / "holdfast-scratch-old");
  fs::last_write_time(parent.path() / "holdfast-scratch-old",
                      fs::file_time_type::clock::now() - std::chrono::hours(2));
  const auto folder = ScratchFolder::Make(parent.path());
  ASSERT_TRUE(folder.ok());
  EXPECT_FALSE(fs::exists(parent.path() / "holdfast-scratch-old"));
  EXPECT_EQ(Entries(parent.path()), 5U);
  EXPECT_TRUE(fs::exists(elsewhere.path() / "precious"));
}

TEST(ScratchFolderTest, AFolderThatIsNotThereIsNamedWithTheKey) {
  const auto folder = ScratchFolder::Make("/nowhere/at/all");
  ASSERT_FALSE(folder.ok());
  EXPECT_NE(folder.error().message().find("/nowhere/at/all"), std::string::npos);
  EXPECT_NE(folder.error().hint().find("scratch_directory"), std::string::npos);
}

}  // namespace
}  // namespace holdfast
