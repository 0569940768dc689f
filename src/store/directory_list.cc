#include "store/directory_list.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

namespace holdfast {
namespace {

constexpr std::size_t kBatchMax = ObjectStore::kListPageMax;

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

/// What stands for an entry in the order of whole keys: a file's path; a directory's path with the
/// slash that every key below it has ("a-b" < "a/b" < "a0").
struct Entry {
  std::string path;
  StoredObject object;

  bool is_directory() const { return path.back() == '/'; }
  friend bool operator<(const Entry& a, const Entry& b) { return a.path < b.path; }
};

class Walk {
 public:
  Walk(const CallContext& call, Clock& clock, int root_fd, std::string_view prefix,
       std::string_view after)
      : call_(call), clock_(clock), root_fd_(root_fd), prefix_(prefix), after_(after) {}

  Result<DirectoryListing> Run() {
    // Nothing outside the prefix's own directory can match.
    const std::size_t slash = prefix_.rfind('/');
    const std::string base =
        slash == std::string_view::npos ? "" : std::string(prefix_.substr(0, slash + 1));
    // "x" stands for any name: is this a path that keys can have?
    if (!IsValidKey(base + "x")) return DirectoryListing();
    HF_RETURN_IF_ERROR(Visit(base));
    return std::move(listing_);
  }

 private:
  bool done() const {
    return listing_.objects.size() == ObjectStore::kListPageMax || listing_.error_number != 0;
  }

  void Fail(int error_number, std::string_view path) {
    listing_.error_number = error_number;
    listing_.failed_path = path;
  }

  /// Adds what lies below `path`, which is empty or ends with a slash.
  Status Visit(const std::string& path) {
    std::string above;
    for (;;) {
      HF_TRY(const std::vector<Entry> batch, ReadBatch(path, above));
      for (const Entry& entry : batch) {
        if (done()) return {};
        if (entry.is_directory()) {
          HF_RETURN_IF_ERROR(Visit(entry.path));
        } else {
          listing_.objects.push_back(entry.object);
        }
      }
      if (done() || batch.size() < kBatchMax) return {};
      above = batch.back().path;
    }
  }

  /// The first kBatchMax entries that matter and are above `above`, in order.
  Result<std::vector<Entry>> ReadBatch(const std::string& path, const std::string& above) {
    std::vector<Entry> heap;
    const Directory directory = Open(path);
    if (directory == nullptr) return heap;
    for (std::size_t seen = 0;; ++seen) {
      if (seen % kBatchMax == 0) HF_RETURN_IF_ERROR(clock_.Check(call_));
      errno = 0;
      const dirent* const found = readdir(directory.get());
      if (found == nullptr) {
        if (errno != 0) Fail(errno, path);
        break;
      }
      std::optional<Entry> entry = Look(dirfd(directory.get()), path, *found);
      if (!entry || entry->path <= above) continue;
      if (heap.size() == kBatchMax) {
        if (!(*entry < heap.front())) continue;
        std::pop_heap(heap.begin(), heap.end());
        heap.pop_back();
      }
      heap.push_back(*std::move(entry));
      std::push_heap(heap.begin(), heap.end());
    }
    std::sort_heap(heap.begin(), heap.end());
    return heap;
  }

  Directory Open(const std::string& path) {
    const int fd =
        openat(root_fd_, path.empty() ? "." : path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
      // Not there, or no longer: nothing to list.
      if (errno != ENOENT && errno != ENOTDIR) Fail(errno, path);
      return nullptr;
    }
    DIR* const directory = fdopendir(fd);
    if (directory == nullptr) {
      Fail(errno, path);
      close(fd);
    }
    return Directory(directory);
  }

  /// The entry, unless no key that is looked for can come of it.
  std::optional<Entry> Look(int fd, const std::string& path, const dirent& found) {
    Entry entry{.path = path + found.d_name, .object = {}};
    if (!IsValidKey(entry.path)) return std::nullopt;
    if (found.d_type != DT_DIR && found.d_type != DT_REG && found.d_type != DT_UNKNOWN) {
      return std::nullopt;
    }
    // Telling by the name alone saves a look at most files of a large directory.
    const bool may_be_file =
        found.d_type != DT_DIR && entry.path.starts_with(prefix_) && entry.path > after_;
    const bool may_be_directory = found.d_type != DT_REG && MayHold(entry.path + "/");
    if (!may_be_file && !may_be_directory) return std::nullopt;

    struct stat status{};
    if (found.d_type != DT_DIR) {
      if (fstatat(fd, found.d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != ENOENT) Fail(errno, entry.path);
        return std::nullopt;
      }
    }
    if (found.d_type == DT_DIR || S_ISDIR(status.st_mode)) {
      if (!may_be_directory) return std::nullopt;
      entry.path += '/';
      return entry;
    }
    if (!S_ISREG(status.st_mode) || !may_be_file) return std::nullopt;
    entry.object = {.key = entry.path,
                    .size = static_cast<std::uint64_t>(status.st_size),
                    .last_modified = WallTime(std::chrono::duration_cast<Duration>(
                        std::chrono::seconds(status.st_mtim.tv_sec) +
                        std::chrono::nanoseconds(status.st_mtim.tv_nsec)))};
    return entry;
  }

  /// Whether a key that begins with `directory` can match the prefix and be above `after`.
  bool MayHold(std::string_view directory) const {
    if (!directory.starts_with(prefix_) && !prefix_.starts_with(directory)) return false;
    return directory > after_ || after_.starts_with(directory);
  }

  const CallContext& call_;
  Clock& clock_;
  const int root_fd_;
  const std::string_view prefix_;
  const std::string_view after_;
  DirectoryListing listing_;
};

}  // namespace

Result<DirectoryListing> ListDirectoryTree(const CallContext& call, Clock& clock, int root_fd,
                                           std::string_view prefix, std::string_view after) {
  return Walk(call, clock, root_fd, prefix, after).Run();
}

}  // namespace holdfast
