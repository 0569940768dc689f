#include "repo/write/spool_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "base/size.h"

namespace holdfast {
namespace {

Error SystemError(const std::string& directory, const char* doing, int error_number) {
  ErrorCode code = ErrorCode::kUnavailable;
  if (error_number == ENOENT || error_number == ENOTDIR) code = ErrorCode::kNotFound;
  if (error_number == EACCES || error_number == EROFS) code = ErrorCode::kPermissionDenied;
  if (error_number == ENOSPC || error_number == EDQUOT) code = ErrorCode::kResourceExhausted;
  return Error(code, fmt::format("{} in {}: {}", doing, directory, std::strerror(error_number)),
               "The spool directory must exist, be writable and have room");
}

/// Where the file system has no files without a name, one is made and unlinked at once.
Result<int> OpenAndUnlink(const std::string& directory) {
  std::string path = directory + "/holdfast-spool-XXXXXX";
  const int fd = mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0) return SystemError(directory, "make a spool file", errno);
  if (unlink(path.c_str()) != 0) {
    const int error_number = errno;
    close(fd);
    return SystemError(directory, "unlink a spool file", error_number);
  }
  return fd;
}

}  // namespace

Result<int> OpenUnlinkedFile(const std::string& directory) {
  const int fd = open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0) return fd;
  if (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL) return OpenAndUnlink(directory);
  return SystemError(directory, "make a spool file", errno);
}

Result<std::unique_ptr<SpoolFile>> SpoolFile::Create(const std::string& directory,
                                                     std::uint64_t bytes_max) {
  HF_TRY(const int fd, OpenUnlinkedFile(directory));
  return std::unique_ptr<SpoolFile>(new SpoolFile(fd, directory, bytes_max));
}

SpoolFile::~SpoolFile() { close(fd_); }

Error SpoolFile::Failed(const char* doing, int error_number) const {
  return SystemError(directory_, doing, error_number);
}

bool SpoolFile::HasRoom(std::uint64_t size) const {
  const std::scoped_lock lock(mutex_);
  return bytes_ + size <= bytes_max_;
}

/// The smallest free piece that fits, so that small documents do not break up the room of packs.
std::uint64_t SpoolFile::Allocate(std::uint64_t size) {
  bytes_ += size;
  auto best = free_.end();
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    if (it->second >= size && (best == free_.end() || it->second < best->second)) best = it;
  }
  if (best == free_.end()) {
    const std::uint64_t offset = end_;
    end_ += size;
    return offset;
  }
  const auto [offset, free_size] = *best;
  free_.erase(best);
  if (free_size > size) free_.emplace(offset + size, free_size - size);
  return offset;
}

void SpoolFile::Free(const Piece& piece) {
  const std::scoped_lock lock(mutex_);
  bytes_ -= piece.size;
  auto it = free_.emplace(piece.offset, piece.size).first;
  if (const auto next = std::next(it);
      next != free_.end() && it->first + it->second == next->first) {
    it->second += next->second;
    free_.erase(next);
  }
  if (it != free_.begin()) {
    const auto before = std::prev(it);
    if (before->first + before->second == it->first) {
      before->second += it->second;
      free_.erase(it);
      it = before;
    }
  }
  if (it->first + it->second == end_) {
    end_ = it->first;
    free_.erase(it);
  }
}

Result<SpoolFile::Piece> SpoolFile::Write(ByteView bytes) {
  Piece piece{.offset = 0, .size = bytes.size()};
  {
    const std::scoped_lock lock(mutex_);
    piece.offset = Allocate(bytes.size());
  }
  std::uint64_t offset = piece.offset;
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) continue;
      const int error_number = errno;
      Free(piece);
      return Failed("write the spool", error_number);
    }
    offset += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return piece;
}

Status SpoolFile::Read(const Piece& piece, Bytes& out) const {
  out.resize(piece.size);
  std::size_t have = 0;
  while (have < piece.size) {
    const ssize_t got =
        pread(fd_, out.data() + have, piece.size - have, static_cast<off_t>(piece.offset + have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Failed("read the spool", errno);
    if (got == 0) return Error(ErrorCode::kInternal, "the spool file is shorter than written");
    have += static_cast<std::size_t>(got);
  }
  return {};
}

std::uint64_t SpoolFile::bytes() const {
  const std::scoped_lock lock(mutex_);
  return bytes_;
}

}  // namespace holdfast
