#include "store/directory_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>  // renameat2
#include <cstring>
#include <utility>

#include "base/size.h"
#include "store/directory_list.h"
#include "stream/crypto.h"

namespace holdfast {
namespace {

constexpr const char* kTemporaryDirectory = ".holdfast-tmp";
constexpr mode_t kFileMode = 0600;
constexpr mode_t kDirectoryMode = 0700;
/// Between two looks at the caller's stop token and deadline.
constexpr std::size_t kPieceMax = 4 * kMiB;
constexpr std::size_t kDurableDirectoriesMax = 4096;
/// How often a temporary file may be taken away by RemoveLeftovers before it is locked.
constexpr int kTemporaryTries = 8;

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const noexcept { return fd_; }
  bool ok() const noexcept { return fd_ >= 0; }

 private:
  const int fd_;
};

std::string ParentOf(std::string_view key) {
  const std::size_t slash = key.rfind('/');
  return slash == std::string_view::npos ? "." : std::string(key.substr(0, slash));
}

WallTime ModifiedAt(const struct stat& status) {
  return WallTime(
      std::chrono::duration_cast<Duration>(std::chrono::seconds(status.st_mtim.tv_sec) +
                                           std::chrono::nanoseconds(status.st_mtim.tv_nsec)));
}

Error NoSuchObject(std::string_view key, const std::string& store) {
  return {ErrorCode::kNotFound, "no object " + std::string(key) + " in " + store};
}

/// Makes `path` and what is missing above it.
int MakeRoot(const std::string& path) {
  for (std::size_t slash = 0; slash != std::string::npos;) {
    slash = path.find('/', slash + 1);
    const std::string part = path.substr(0, slash);
    if (mkdir(part.c_str(), kDirectoryMode) == 0) {
      const FileDescriptor parent(open((part + "/..").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (!parent.ok() || fsync(parent.get()) != 0) return errno;
    } else if (errno != EEXIST) {
      return errno;
    }
  }
  return 0;
}

ErrorCode CodeOf(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
      return ErrorCode::kResourceExhausted;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorCode::kPermissionDenied;
    case ENOTDIR:
    case EISDIR:
    case ENAMETOOLONG:
      return ErrorCode::kInvalidArgument;
    case ENOENT:
      return ErrorCode::kFailedPrecondition;
    default:
      // EIO, ESTALE, ETIMEDOUT: network file systems and failing disks; worth another try.
      return ErrorCode::kUnavailable;
  }
}

}  // namespace

/// A file that is being written. Locked, so that RemoveLeftovers sees that its writer lives;
/// removed when it dies without having been published.
class DirectoryStore::Temporary {
 public:
  Temporary(int root_fd, std::string path, int fd)
      : root_fd_(root_fd), path_(std::move(path)), fd_(fd) {}
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  ~Temporary() {
    if (!gone_) unlinkat(root_fd_, path_.c_str(), 0);
    close(fd_);
  }

  int fd() const noexcept { return fd_; }
  const std::string& path() const noexcept { return path_; }
  void set_gone() noexcept { gone_ = true; }

 private:
  const int root_fd_;
  const std::string path_;
  const int fd_;
  bool gone_ = false;
};

Result<std::unique_ptr<DirectoryStore>> DirectoryStore::Open(Clock& clock, std::string root,
                                                             DirectoryStoreOptions options) {
  if (root.empty() || root.front() != '/') {
    return Error(ErrorCode::kInvalidArgument, "directory '" + root + "' is not an absolute path");
  }
  while (root.size() > 1 && root.back() == '/') root.pop_back();
  if (options.create) {
    if (const int error_number = MakeRoot(root); error_number != 0) {
      return Error(CodeOf(error_number),
                   "cannot make directory " + root + ": " + std::strerror(error_number));
    }
  }
  const int fd = open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    const int error_number = errno;
    const std::string message = "cannot open directory " + root + ": ";
    if (error_number == ENOENT) {
      return Error(ErrorCode::kNotFound, message + std::strerror(error_number),
                   "is its disk mounted? `holdfast init` makes a new repository");
    }
    return Error(CodeOf(error_number), message + std::strerror(error_number));
  }
  return std::unique_ptr<DirectoryStore>(
      new DirectoryStore(clock, std::move(root), fd, std::move(options)));
}

DirectoryStore::DirectoryStore(Clock& clock, std::string root, int root_fd,
                               DirectoryStoreOptions options)
    : clock_(clock), root_(std::move(root)), root_fd_(root_fd), options_(std::move(options)) {}

DirectoryStore::~DirectoryStore() { close(root_fd_); }

std::string DirectoryStore::Describe() const { return "directory " + root_; }

Status DirectoryStore::Step(DirectoryStep step, const std::string& path) const {
  if (!options_.fault) return {};
  const int error_number = options_.fault(step, path);
  if (error_number == 0) return {};
  return Failed("write", path, error_number);
}

Error DirectoryStore::Failed(std::string_view doing, const std::string& path,
                             int error_number) const {
  const ErrorCode code = CodeOf(error_number);
  std::string message = "cannot " + std::string(doing) + " " + root_ + "/" + path + ": " +
                        std::strerror(error_number);
  if (error_number == ENOSPC || error_number == EDQUOT) {
    if (const auto free = FreeBytes(); free.ok()) message += " (" + FormatSize(*free) + " free)";
    return {code, std::move(message), "make room there, or move the repository to a larger disk"};
  }
  if (error_number == EMFILE || error_number == ENFILE) {
    return {code, std::move(message), "raise the limit of open files (ulimit -n)"};
  }
  if (error_number == ENOENT) {
    return {code, std::move(message), "is the disk of " + root_ + " still mounted?"};
  }
  return {code, std::move(message)};
}

// --- put ---------------------------------------------------------------------------------------

Status DirectoryStore::Put(const CallContext& call, std::string_view key, const ObjectBody& body,
                           PutMode mode) {
  HF_RETURN_IF_ERROR(CheckPut(key, body));
  HF_RETURN_IF_ERROR(clock_.Check(call));
  const std::string path(key);
  HF_TRY(const std::unique_ptr<Temporary> file, CreateTemporary());
  HF_RETURN_IF_ERROR(Write(call, *file, body));
  HF_RETURN_IF_ERROR(MakeDirectories(path));
  Status published = Publish(*file, path, mode);
  if (!published.ok() && published.error().code() == ErrorCode::kFailedPrecondition) {
    // Somebody removed a directory that we had made before.
    {
      const std::scoped_lock lock(mutex_);
      durable_directories_.clear();
    }
    HF_RETURN_IF_ERROR(MakeDirectories(path));
    published = Publish(*file, path, mode);
  }
  if (!published.ok() && published.error().code() != ErrorCode::kAlreadyExists) return published;
  // Also when it was there already: then it may be our own earlier try, whose sync failed.
  HF_RETURN_IF_ERROR(SyncDirectory(ParentOf(path)));
  return published;
}

Result<std::unique_ptr<DirectoryStore::Temporary>> DirectoryStore::CreateTemporary() const {
  for (int tries = 0; tries < kTemporaryTries; ++tries) {
    std::string path =
        std::string(kTemporaryDirectory) + "/" + ToHex(ByteView(KernelRandom().Draw<16>()));
    HF_RETURN_IF_ERROR(Step(DirectoryStep::kCreateTemporary, path));
    const int fd =
        openat(root_fd_, path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kFileMode);
    if (fd < 0) {
      if (errno != ENOENT) return Failed("create", path, errno);
      if (mkdirat(root_fd_, kTemporaryDirectory, kDirectoryMode) != 0 && errno != EEXIST) {
        return Failed("create", kTemporaryDirectory, errno);
      }
      continue;
    }
    auto file = std::make_unique<Temporary>(root_fd_, std::move(path), fd);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) continue;
    // A file system without locks has no RemoveLeftovers that would remove it either.
    struct stat status{};
    if (fstat(fd, &status) == 0 && status.st_nlink > 0) return file;
  }
  return Error(ErrorCode::kUnavailable,
               "temporary files below " + root_ + " are removed as they are made");
}

Status DirectoryStore::Write(const CallContext& call, Temporary& file,
                             const ObjectBody& body) const {
  HF_RETURN_IF_ERROR(Step(DirectoryStep::kWrite, file.path()));
  for (ByteView rest : body.parts()) {
    while (!rest.empty()) {
      HF_RETURN_IF_ERROR(clock_.Check(call));
      const ssize_t written = write(file.fd(), rest.data(), std::min(rest.size(), kPieceMax));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return Failed("write", file.path(), errno);
      rest = rest.subspan(static_cast<std::size_t>(written));
    }
  }
  HF_RETURN_IF_ERROR(Step(DirectoryStep::kSyncFile, file.path()));
  if (fsync(file.fd()) != 0) return Failed("sync", file.path(), errno);
  // What is durable is not read again soon: the database beside us keeps its page cache, and the
  // next pack finds pages that are free. Advice only, so whether it was taken does not matter.
  if (body.size() >= kPieceMax) {
    static_cast<void>(posix_fadvise(file.fd(), 0, 0, POSIX_FADV_DONTNEED));
  }
  return {};
}

Status DirectoryStore::Publish(Temporary& file, const std::string& path, PutMode mode) const {
  HF_RETURN_IF_ERROR(Step(DirectoryStep::kPublish, path));
  const char* const from = file.path().c_str();
  const char* const to = path.c_str();
  const bool replace = mode == PutMode::kReplace;
  int error_number = EINVAL;
  if (replace || options_.rename_without_replace) {
    const unsigned flags = replace ? 0 : RENAME_NOREPLACE;
    error_number = renameat2(root_fd_, from, root_fd_, to, flags) == 0 ? 0 : errno;
    if (error_number == 0) {
      file.set_gone();
      return {};
    }
  }
  if (!replace && (error_number == EINVAL || error_number == ENOSYS)) {
    // NFS and some others cannot rename without replacing; a hard link never replaces either.
    error_number = linkat(root_fd_, from, root_fd_, to, 0) == 0 ? 0 : errno;
    if (error_number == 0) {
      HF_RETURN_IF_ERROR(Step(DirectoryStep::kRemoveTemporary, file.path()));
      return {};  // The destructor of `file` removes the first name.
    }
  }
  if (error_number == EEXIST && !replace) {
    return Error(ErrorCode::kAlreadyExists,
                 "there is an object " + path + " already in " + Describe());
  }
  return Failed("create", path, error_number);
}

Status DirectoryStore::MakeDirectories(const std::string& path) {
  for (std::size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string directory = path.substr(0, slash);
    {
      const std::scoped_lock lock(mutex_);
      if (durable_directories_.contains(directory)) continue;
    }
    if (mkdirat(root_fd_, directory.c_str(), kDirectoryMode) != 0 && errno != EEXIST) {
      return Failed("create directory", directory, errno);
    }
    // Whoever made it may not have synced it yet.
    HF_RETURN_IF_ERROR(SyncDirectory(ParentOf(directory)));
    const std::scoped_lock lock(mutex_);
    if (durable_directories_.size() == kDurableDirectoriesMax) durable_directories_.clear();
    durable_directories_.insert(directory);
  }
  return {};
}

Status DirectoryStore::SyncDirectory(const std::string& path) const {
  HF_RETURN_IF_ERROR(Step(DirectoryStep::kSyncDirectory, path));
  const FileDescriptor directory(
      openat(root_fd_, path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.ok()) return Failed("open directory", path, errno);
  // EINVAL: this file system has no such thing as syncing a directory.
  if (fsync(directory.get()) != 0 && errno != EINVAL) {
    return Failed("sync directory", path, errno);
  }
  return {};
}

// --- the rest ----------------------------------------------------------------------------------

Result<Bytes> DirectoryStore::Get(const CallContext& call, std::string_view key,
                                  std::optional<ByteRange> range) {
  HF_RETURN_IF_ERROR(CheckKey(key));
  const std::string path(key);
  const FileDescriptor file(
      openat(root_fd_, path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file.ok()) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) {
      return NoSuchObject(key, Describe());
    }
    return Failed("open", path, errno);
  }
  struct stat status{};
  if (fstat(file.get(), &status) != 0) return Failed("look at", path, errno);
  if (!S_ISREG(status.st_mode)) return NoSuchObject(key, Describe());
  HF_TRY(const ByteRange wanted,
         CheckRange(key, range, static_cast<std::uint64_t>(status.st_size)));

  Bytes bytes(static_cast<std::size_t>(wanted.size));
  for (std::size_t done = 0; done < bytes.size();) {
    HF_RETURN_IF_ERROR(clock_.Check(call));
    const ssize_t got =
        pread(file.get(), bytes.data() + done, std::min(bytes.size() - done, kPieceMax),
              static_cast<off_t>(wanted.offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Failed("read", path, errno);
    if (got == 0) {
      return Error(ErrorCode::kDataLoss, root_ + "/" + path + " became shorter while it was read");
    }
    done += static_cast<std::size_t>(got);
  }
  return bytes;
}

Result<StoredObject> DirectoryStore::Stat(const CallContext& call, std::string_view key) {
  HF_RETURN_IF_ERROR(CheckKey(key));
  HF_RETURN_IF_ERROR(clock_.Check(call));
  const std::string path(key);
  struct stat status{};
  if (fstatat(root_fd_, path.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return NoSuchObject(key, Describe());
    return Failed("look at", path, errno);
  }
  if (!S_ISREG(status.st_mode)) return NoSuchObject(key, Describe());
  return StoredObject{.key = path,
                      .size = static_cast<std::uint64_t>(status.st_size),
                      .last_modified = ModifiedAt(status)};
}

Result<std::vector<StoredObject>> DirectoryStore::List(const CallContext& call,
                                                       std::string_view prefix,
                                                       std::string_view after) {
  HF_RETURN_IF_ERROR(clock_.Check(call));
  HF_TRY(DirectoryListing listing, ListDirectoryTree(call, clock_, root_fd_, prefix, after));
  if (listing.error_number != 0) {
    return Failed("list", listing.failed_path, listing.error_number);
  }
  return std::move(listing.objects);
}

Status DirectoryStore::Delete(const CallContext& call, std::string_view key) {
  HF_RETURN_IF_ERROR(CheckKey(key));
  HF_RETURN_IF_ERROR(clock_.Check(call));
  const std::string path(key);
  if (unlinkat(root_fd_, path.c_str(), 0) == 0) return {};
  // A directory of that name is no object.
  if (errno == ENOENT || errno == ENOTDIR || errno == EISDIR) return {};
  return Failed("delete", path, errno);
}

Result<std::size_t> DirectoryStore::RemoveLeftovers(const CallContext& call) {
  const int fd = openat(root_fd_, kTemporaryDirectory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT) return std::size_t{0};
    return Failed("list", kTemporaryDirectory, errno);
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(fdopendir(fd), closedir);
  if (directory == nullptr) {
    close(fd);
    return Failed("list", kTemporaryDirectory, ENOMEM);
  }
  std::size_t removed = 0;
  for (;;) {
    HF_RETURN_IF_ERROR(clock_.Check(call));
    errno = 0;
    const dirent* const entry = readdir(directory.get());
    if (entry == nullptr) {
      if (errno != 0) return Failed("list", kTemporaryDirectory, errno);
      return removed;
    }
    if (entry->d_name[0] == '.') continue;
    const FileDescriptor file(
        openat(fd, entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    // Not ours to open, still locked by its writer, or no locks here: it stays.
    if (!file.ok() || flock(file.get(), LOCK_EX | LOCK_NB) != 0) continue;
    // Under the lock no writer uses it. Published meanwhile: the name is gone, ENOENT.
    if (unlinkat(fd, entry->d_name, 0) == 0) ++removed;
  }
}

Result<std::uint64_t> DirectoryStore::FreeBytes() const {
  struct statvfs status{};
  if (fstatvfs(root_fd_, &status) != 0) {
    return Error(CodeOf(errno),
                 "cannot ask for the free space of " + root_ + ": " + std::strerror(errno));
  }
  return std::uint64_t{status.f_bavail} * status.f_frsize;
}

}  // namespace holdfast
