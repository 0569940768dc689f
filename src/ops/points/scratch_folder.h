// Folders for files that must not outlive an operation, nor a crash of it.

#pragma once

#include <memory>
#include <string>

#include "base/result.h"

namespace holdfast {

/// A folder of mode 0700 that is removed with all it holds. As long as it lives, a lock in it says
/// so: what a process that was killed has left is found by the next one and removed.
class ScratchFolder {
 public:
  /// A new one below `parent`. Removes what dead processes of this user left there.
  static Result<std::unique_ptr<ScratchFolder>> Make(const std::string& parent);
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::string& path() const noexcept { return path_; }

 private:
  ScratchFolder(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}

  const std::string path_;
  const int lock_;
};

}  // namespace holdfast
