#include "ops/points/scratch_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace holdfast {
namespace {

constexpr std::string_view kPrefix = "holdfast-scratch-";
constexpr const char* kLock = "lock";
/// A folder without a lock is either being made at this moment or was left by a crash then.
constexpr std::time_t kBeingMadeSeconds = 600;

Error SystemError(const std::string& doing) {
  const ErrorCode code = errno == ENOSPC || errno == EDQUOT ? ErrorCode::kResourceExhausted
                                                            : ErrorCode::kFailedPrecondition;
  return Error(code, doing + ": " + std::strerror(errno),
               "set [restore] scratch_directory to a folder that holdfast may write to");
}

/// Whether whoever made it is gone. Nobody else's folder, and no link, is ever touched. `now` by
/// the clock of the file system.
bool IsLeft(const std::string& folder, std::time_t now) {
  struct stat about{};
  if (::lstat(folder.c_str(), &about) != 0) return false;
  if (!S_ISDIR(about.st_mode) || about.st_uid != ::geteuid()) return false;
  const std::string path = folder + "/" + kLock;
  const int lock = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (lock < 0) return errno == ENOENT && now - about.st_mtime > kBeingMadeSeconds;
  const bool free = ::flock(lock, LOCK_EX | LOCK_NB) == 0;
  ::close(lock);
  return free;
}

/// The lock last: what is left by a crash in between is still known to be nobody's.
void Remove(const std::string& folder) {
  std::error_code failed;
  std::vector<std::filesystem::path> inside;
  std::filesystem::directory_iterator entries(folder, failed);
  for (; !failed && entries != std::filesystem::directory_iterator(); entries.increment(failed)) {
    if (entries->path().filename() != kLock) inside.push_back(entries->path());
  }
  // What cannot be removed now is tried again by the next one.
  std::error_code ignored;
  for (const auto& path : inside) std::filesystem::remove_all(path, ignored);
  std::filesystem::remove_all(folder, ignored);
}

void Sweep(const std::string& parent, const std::string& newest) {
  struct stat about{};
  if (::lstat(newest.c_str(), &about) != 0) return;
  std::error_code failed;
  std::filesystem::directory_iterator entries(parent, failed);
  for (; !failed && entries != std::filesystem::directory_iterator(); entries.increment(failed)) {
    if (!entries->path().filename().string().starts_with(kPrefix)) continue;
    if (IsLeft(entries->path(), about.st_mtime)) Remove(entries->path());
  }
}

}  // namespace

Result<std::unique_ptr<ScratchFolder>> ScratchFolder::Make(const std::string& parent) {
  std::string path = parent + "/" + std::string(kPrefix) + "XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) return SystemError("make a scratch folder in " + parent);
  // It gets its name when it is held: whoever finds it free may be sure that its owner is gone.
  const std::string name = path + "/" + kLock;
  const std::string unnamed = name + ".new";
  const int lock = ::open(unnamed.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (lock < 0 || ::flock(lock, LOCK_EX | LOCK_NB) != 0 ||
      std::rename(unnamed.c_str(), name.c_str()) != 0) {
    const Error error = SystemError("lock the scratch folder " + path);
    if (lock >= 0) ::close(lock);
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
    return error;
  }
  Sweep(parent, path);
  return std::unique_ptr<ScratchFolder>(new ScratchFolder(std::move(path), lock));
}

ScratchFolder::~ScratchFolder() {
  Remove(path_);
  ::close(lock_);
}

}  // namespace holdfast
