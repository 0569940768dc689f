#include "engine/qdrant/spool_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace holdfast::qdrant {

SpoolFile::~SpoolFile() {
  if (file_ >= 0) ::close(file_);
}

Error SpoolFile::Failed(const char* doing) const {
  const int code = errno;
  return {
      code == ENOSPC || code == EDQUOT ? ErrorCode::kResourceExhausted : ErrorCode::kUnavailable,
      std::string(doing) + " a temporary file in " + directory_ + ": " +
          std::system_category().message(code),
      "give a folder with room for temporary files"};
}

Status SpoolFile::Open() {
  file_ = ::open(directory_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file_ >= 0) return {};
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT) return Failed("open");
  // File systems without O_TMPFILE (NFS, older overlayfs).
  std::string path = directory_ + "/holdfast-spool-XXXXXX";
  file_ = ::mkostemp(path.data(), O_CLOEXEC);
  if (file_ < 0) return Failed("open");
  ::unlink(path.c_str());
  return {};
}

Status SpoolFile::WriteAt(std::uint64_t offset, ByteView bytes) {
  if (file_ < 0) HF_RETURN_IF_ERROR(Open());
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) continue;
      return Failed("write");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
  return {};
}

Status SpoolFile::ReadAt(std::uint64_t offset, std::span<std::byte> into) const {
  while (!into.empty() && file_ >= 0) {
    const ssize_t got = ::pread(file_, into.data(), into.size(), static_cast<off_t>(offset));
    if (got < 0) {
      if (errno == EINTR) continue;
      return Failed("read");
    }
    if (got == 0) break;
    into = into.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  std::ranges::fill(into, std::byte{0});
  return {};
}

}  // namespace holdfast::qdrant
