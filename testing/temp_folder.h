#pragma once

// A folder of a test's own that is gone with it.

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "base/assert.h"
#include "base/size.h"

namespace holdfast::testing {

class TempFolder {
 public:
  enum class Place {
    kDisk,
    /// In memory where this machine has a gigabyte to spare, for databases that would wait for
    /// the disk at every commit; else as kDisk.
    kMemory,
  };

  explicit TempFolder(Place place = Place::kDisk) {
    std::filesystem::path parent = std::filesystem::temp_directory_path();
    std::error_code none;
    const auto room = std::filesystem::space("/dev/shm", none);
    if (place == Place::kMemory && !none && room.available >= kGiB) parent = "/dev/shm";
    std::string name = parent / "holdfast-test-XXXXXX";
    HF_ASSERT(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace holdfast::testing
