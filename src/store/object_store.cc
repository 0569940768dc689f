#include "store/object_store.h"

#include <algorithm>
#include <cstring>

namespace holdfast {
namespace {

constexpr std::size_t kSegmentSizeMax = 200;

bool IsValidSegment(std::string_view segment) noexcept {
  return !segment.empty() && segment.size() <= kSegmentSizeMax && segment.front() != '.';
}

}  // namespace

std::uint64_t ObjectBody::size() const noexcept {
  std::uint64_t size = 0;
  for (const ByteView part : parts_) size += part.size();
  return size;
}

Bytes ObjectBody::Joined() const {
  Bytes whole;
  whole.reserve(static_cast<std::size_t>(size()));
  for (const ByteView part : parts_) Append(whole, part);
  return whole;
}

bool ObjectBody::Equals(ByteView other) const noexcept {
  if (other.size() != size()) return false;
  for (const ByteView part : parts_) {
    if (!std::ranges::equal(part, other.first(part.size()))) return false;
    other = other.subspan(part.size());
  }
  return true;
}

bool IsValidKey(std::string_view key) noexcept {
  if (key.empty() || key.size() > ObjectStore::kKeySizeMax) return false;
  if (!std::ranges::all_of(key, [](char c) { return c >= ' ' && c <= '~' && c != '\\'; })) {
    return false;
  }
  for (;;) {
    const std::size_t slash = key.find('/');
    if (!IsValidSegment(key.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    key.remove_prefix(slash + 1);
  }
}

Status CheckKey(std::string_view key) {
  if (IsValidKey(key)) return {};
  return Error(
      ErrorCode::kInvalidArgument,
      "'" + std::string(key.substr(0, ObjectStore::kKeySizeMax)) + "' is not an object key");
}

Status CheckPut(std::string_view key, const ObjectBody& body) {
  HF_RETURN_IF_ERROR(CheckKey(key));
  if (body.size() <= ObjectStore::kObjectSizeMax) return {};
  return Error(ErrorCode::kInvalidArgument,
               "object " + std::string(key) + " would have " + FormatSize(body.size()) +
                   ", more than the " + FormatSize(ObjectStore::kObjectSizeMax) + " allowed");
}

Result<ByteRange> CheckRange(std::string_view key, std::optional<ByteRange> range,
                             std::uint64_t size) {
  const ByteRange wanted = range.value_or(ByteRange{.offset = 0, .size = size});
  if (wanted.offset > size || wanted.size > size - wanted.offset) {
    return Error(ErrorCode::kInvalidArgument,
                 "object " + std::string(key) + " has " + std::to_string(size) + " bytes; " +
                     std::to_string(wanted.size) + " from offset " + std::to_string(wanted.offset) +
                     " are not all inside");
  }
  if (wanted.size > ObjectStore::kObjectSizeMax) {
    return Error(ErrorCode::kResourceExhausted,
                 "object " + std::string(key) + " has " + FormatSize(size) + ", more than the " +
                     FormatSize(ObjectStore::kObjectSizeMax) + " that an object may have");
  }
  return wanted;
}

}  // namespace holdfast
