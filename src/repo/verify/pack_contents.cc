#include "repo/verify/pack_contents.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/assert.h"
#include "repo/pack_presence.h"
#include "repo/write/spool_file.h"

namespace holdfast {

std::uint64_t PackEntryMark(const BlockIdentity& block, const BlockPlace& place) {
  Bytes line = ToBytes(block.name);
  AppendU32(line, place.position);
  AppendU32(line, place.offset);
  AppendU32(line, place.sealed_size);
  AppendU32(line, block.plain_size);
  line.push_back(std::byte{block.codec});
  const Digest digest = Sha256Of(line);
  std::uint64_t mark = 0;
  std::memcpy(&mark, digest.data(), sizeof mark);
  return mark == kDamagedMark ? 1 : mark;
}

Result<std::unique_ptr<PackContents>> PackContents::Create(const std::string& directory) {
  HF_TRY(const int fd, OpenUnlinkedFile(directory));
  return std::unique_ptr<PackContents>(new PackContents(fd, directory));
}

PackContents::~PackContents() { close(fd_); }

std::uint32_t PackContents::Add(const GroupId& attempt, const PackId& id) {
  const std::scoped_lock lock(mutex_);
  const std::uint64_t prefix = PackPrefix(id);
  const auto [begin, end] = by_prefix_.equal_range(prefix);
  for (auto it = begin; it != end; ++it) {
    const Line& line = lines_[it->second];
    if (line.id == id && attempts_[line.attempt] == attempt) return it->second;
  }
  // An image's packs come attempt by attempt, so the last one is the likely one.
  auto found = std::ranges::find(attempts_, attempt);
  if (found == attempts_.end()) found = attempts_.insert(attempts_.end(), attempt);
  Line line;
  line.attempt = static_cast<std::uint32_t>(found - attempts_.begin());
  line.id = id;
  lines_.push_back(line);
  const auto number = static_cast<std::uint32_t>(lines_.size() - 1);
  by_prefix_.emplace(prefix, number);
  return number;
}

std::size_t PackContents::size() const {
  const std::scoped_lock lock(mutex_);
  return lines_.size();
}

GroupId PackContents::AttemptOf(std::uint32_t pack) const {
  const std::scoped_lock lock(mutex_);
  return attempts_[lines_[pack].attempt];
}

PackId PackContents::IdOf(std::uint32_t pack) const {
  const std::scoped_lock lock(mutex_);
  return lines_[pack].id;
}

PackContents::State PackContents::StateOf(std::uint32_t pack) const {
  const std::scoped_lock lock(mutex_);
  return lines_[pack].state;
}

void PackContents::SetDamaged(std::uint32_t pack) {
  const std::scoped_lock lock(mutex_);
  lines_[pack].state = State::kDamaged;
}

Status PackContents::SetRead(std::uint32_t pack, const std::vector<std::uint64_t>& marks) {
  const std::size_t size = marks.size() * sizeof(std::uint64_t);
  std::uint64_t offset = 0;
  {
    const std::scoped_lock lock(mutex_);
    offset = end_;
    end_ += size;
  }
  const auto* bytes = reinterpret_cast<const char*>(marks.data());
  for (std::size_t done = 0; done < size;) {
    const ssize_t written =
        pwrite(fd_, bytes + done, size - done, static_cast<off_t>(offset + done));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      return Error(ErrorCode::kResourceExhausted, fmt::format("write the table of packs in {}: {}",
                                                              directory_, std::strerror(errno)));
    }
    done += static_cast<std::size_t>(written);
  }
  const std::scoped_lock lock(mutex_);
  Line& line = lines_[pack];
  line.offset = offset;
  line.blocks = static_cast<std::uint32_t>(marks.size());
  line.state = State::kRead;
  return {};
}

Result<std::vector<std::uint64_t>> PackContents::MarksOf(std::uint32_t pack) const {
  Line line;
  {
    const std::scoped_lock lock(mutex_);
    line = lines_[pack];
  }
  HF_ASSERT(line.state == State::kRead);
  std::vector<std::uint64_t> marks(line.blocks);
  auto* bytes = reinterpret_cast<char*>(marks.data());
  const std::size_t size = marks.size() * sizeof(std::uint64_t);
  for (std::size_t done = 0; done < size;) {
    const ssize_t got =
        pread(fd_, bytes + done, size - done, static_cast<off_t>(line.offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Error(ErrorCode::kInternal, "the table of packs cannot be read back");
    done += static_cast<std::size_t>(got);
  }
  return marks;
}

}  // namespace holdfast
