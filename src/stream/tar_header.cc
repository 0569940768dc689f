#include "stream/tar_header.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/assert.h"
#include "base/size.h"
#include "stream/tar_layout.h"

namespace holdfast {
namespace {

using namespace tar_layout;

constexpr std::size_t kPaxBytesMax = kMiB;
constexpr std::uint64_t kSizeMax = ~std::uint64_t{0} >> 1;

Error Damaged(std::string what) { return {ErrorCode::kDataLoss, std::move(what)}; }
Error OtherDialect(std::string what) {
  return {
      ErrorCode::kUnsupported, std::move(what),
      "only what Qdrant itself writes is read: regular files, directories, old GNU sparse files, "
      "long names, pax headers"};
}

ByteView Part(ByteView block, Field field) { return block.subspan(field.at, field.size); }

/// The text up to the first zero byte.
std::string_view Text(ByteView field) {
  const std::string_view text = AsText(field);
  return text.substr(0, text.find('\0'));
}

Result<std::uint64_t> Base256(ByteView field, std::string_view what) {
  // The highest bit marks the form, the next one is the sign.
  std::uint64_t value = std::to_integer<std::uint64_t>(field[0] & std::byte{0x7f});
  bool fits = value < 0x40;
  for (const std::byte b : field.subspan(1)) {
    fits = fits && value <= kSizeMax >> 8;
    value = value << 8 | std::to_integer<std::uint64_t>(b);
  }
  if (!fits) return Damaged(std::string(what) + " is negative or does not fit 63 bits");
  return value;
}

/// Octal digits between spaces and zero bytes, or base-256.
Result<std::uint64_t> Number(ByteView field, std::string_view what) {
  if ((field[0] & std::byte{0x80}) != std::byte{0}) return Base256(field, what);
  std::string_view text = AsText(field);
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  const std::size_t digits = std::min(text.find_first_not_of("01234567"), text.size());
  if (digits == 0 || text.find_first_not_of(std::string_view(" \0", 2), digits) != text.npos) {
    return Damaged(std::string(what) + " is not an octal number");
  }
  std::uint64_t value = 0;  // 12 octal digits have 36 bits.
  const std::string_view octal = text.substr(0, digits);
  std::from_chars(octal.begin(), octal.end(), value, 8);
  return value;
}

/// As Number, but a field without any digit counts as 0: writers leave out what they do not know.
Result<std::uint64_t> OptionalNumber(ByteView field, std::string_view what) {
  if (Text(field).find_first_not_of(' ') == std::string_view::npos) return std::uint64_t{0};
  return Number(field, what);
}

Status CheckSum(ByteView block) {
  std::uint64_t sum = 0;
  for (const std::byte b : block) sum += std::to_integer<std::uint64_t>(b);
  for (const std::byte b : Part(block, kChecksum)) sum -= std::to_integer<std::uint64_t>(b);
  sum += kChecksum.size * ' ';  // The field counts as spaces.
  HF_TRY(const std::uint64_t wanted, Number(Part(block, kChecksum), "its checksum"));
  if (sum != wanted) {
    return Damaged("its checksum is wrong (" + std::to_string(wanted) + " stated, " +
                   std::to_string(sum) + " found)");
  }
  return {};
}

std::string ShowType(char type) {
  if (type >= ' ' && type <= '~') return std::string("'") + type + "'";
  return "byte " + std::to_string(static_cast<unsigned char>(type));
}

}  // namespace

bool IsAllZero(ByteView bytes) noexcept {
  return bytes.empty() || (bytes[0] == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

Status CheckTarPath(std::string_view path, const TarLimits& limits) {
  if (path.empty()) return Damaged("its path is empty");
  if (path.size() > limits.path_bytes_max) {
    return Damaged("its path has " + std::to_string(path.size()) + " bytes, more than the " +
                   std::to_string(limits.path_bytes_max) + " allowed");
  }
  if (path.find('\0') != path.npos) return Damaged("its path has a zero byte");
  if (path.front() == '/') return Damaged("its path is absolute");
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    if (path.substr(at, end - at) == "..") return Damaged("its path leaves the tree with '..'");
    at = end + 1;
  }
  return {};
}

Result<TarHeaderParser::Step> TarHeaderParser::Add(ByteView block) {
  HF_ASSERT(block.size() == kTarBlockBytes && !complete_);
  if (entry_.headers.size() + block.size() > limits_.header_bytes_max) {
    return Damaged("its headers have more than the " + FormatSize(limits_.header_bytes_max) +
                   " allowed");
  }
  Append(entry_.headers, block);
  switch (expect_) {
    case Expect::kHeader:
      HF_RETURN_IF_ERROR(AddHeader(block));
      break;
    case Expect::kLongName:
    case Expect::kPax: {
      const std::size_t count = std::min(extra_missing_, block.size());
      extra_ += AsText(block.first(count));
      extra_missing_ -= count;
      if (extra_missing_ == 0) HF_RETURN_IF_ERROR(EndExtra());
      break;
    }
    case Expect::kSparseMap:
      HF_RETURN_IF_ERROR(AddRuns(Part(block, kBlockRuns)));
      if (block[kBlockMoreRuns] == std::byte{0}) {
        HF_RETURN_IF_ERROR(EndRuns());
      } else if (block[kBlockMoreRuns] != std::byte{1}) {
        return Damaged("its sparse map goes on by a flag that is neither 0 nor 1");
      }
      break;
  }
  return complete_ ? Step::kEntry : Step::kMore;
}

TarEntry TarHeaderParser::Take() {
  HF_ASSERT(complete_);
  TarEntry entry = std::move(entry_);
  expect_ = Expect::kHeader;
  has_path_ = has_pax_ = complete_ = false;
  pax_size_.reset();
  map_end_ = map_sum_ = 0;
  entry_ = {};
  return entry;
}

Status TarHeaderParser::AddHeader(ByteView block) {
  if (IsAllZero(block)) return Damaged("a long name or pax header stands before the end marker");
  HF_RETURN_IF_ERROR(CheckSum(block));
  const std::string_view magic = AsText(Part(block, kMagic));
  if (magic != kGnuMagic && magic != kPosixMagic) {
    return OtherDialect("it is neither a GNU nor a POSIX tar header");
  }
  HF_TRY(const std::uint64_t size, Number(Part(block, kSize), "its size"));
  const char type = static_cast<char>(block[kType.at]);
  switch (type) {
    case kTypeLongName:
      if (size > limits_.path_bytes_max + 1) {
        return Damaged("a long name of " + std::to_string(size) + " bytes is more than the " +
                       std::to_string(limits_.path_bytes_max) + " allowed");
      }
      return BeginExtra(Expect::kLongName, size);
    case kTypePax:
      if (size > kPaxBytesMax) return Damaged("a pax header has more than 1 MiB");
      if (std::exchange(has_pax_, true)) return OtherDialect("it has two pax headers");
      return BeginExtra(Expect::kPax, size);
    case kTypeFile:
    case kTypeOldFile:
      entry_.type = TarEntryType::kFile;
      break;
    case kTypeDirectory:
      entry_.type = TarEntryType::kDirectory;
      break;
    case kTypeSparse:
      if (magic != kGnuMagic) return OtherDialect("it is a sparse file without a GNU header");
      if (pax_size_) return OtherDialect("it is a sparse file with a pax size");
      entry_.type = TarEntryType::kSparse;
      break;
    default:
      return OtherDialect("it has the entry type " + ShowType(type));
  }
  entry_.stored_size = pax_size_.value_or(size);
  return Complete(block);
}

Status TarHeaderParser::BeginExtra(Expect what, std::uint64_t size) {
  if (size == 0) return Damaged("a long name or pax header is empty");
  expect_ = what;
  extra_.clear();
  extra_missing_ = static_cast<std::size_t>(size);
  return {};
}

Status TarHeaderParser::EndExtra() {
  if (std::exchange(expect_, Expect::kHeader) == Expect::kPax) return ReadPax();
  // The name ends with a zero byte, which counts in its size.
  while (!extra_.empty() && extra_.back() == '\0') extra_.pop_back();
  return SetPath(std::move(extra_));
}

Status TarHeaderParser::SetPath(std::string path) {
  // Readers differ in which one they believe.
  if (std::exchange(has_path_, true)) return OtherDialect("it has two long names");
  HF_RETURN_IF_ERROR(CheckTarPath(path, limits_));
  entry_.path = std::move(path);
  return {};
}

/// Records are "<length> <key>=<value>\n", the length being that of the whole record.
Status TarHeaderParser::ReadPax() {
  for (std::string_view rest = extra_; !rest.empty();) {
    std::size_t length = 0;
    const auto [end, code] = std::from_chars(rest.data(), rest.data() + rest.size(), length);
    const std::size_t digits = static_cast<std::size_t>(end - rest.data());
    if (code != std::errc() || length > rest.size() || length < digits + 3 || *end != ' ' ||
        rest[length - 1] != '\n') {
      return Damaged("its pax header is damaged");
    }
    const std::string_view record = rest.substr(digits + 1, length - digits - 2);
    const std::size_t equals = record.find('=');
    if (equals == record.npos) return Damaged("its pax header has a record without '='");
    const std::string_view key = record.substr(0, equals);
    const std::string_view value = record.substr(equals + 1);
    if (key == "path") {
      HF_RETURN_IF_ERROR(SetPath(std::string(value)));
    } else if (key == "size") {
      std::uint64_t size = 0;
      const auto [stop, bad] = std::from_chars(value.data(), value.data() + value.size(), size);
      if (bad != std::errc() || stop != value.data() + value.size() || size > kSizeMax) {
        return Damaged("its pax size is not a number");
      }
      pax_size_ = size;
    } else if (key.starts_with("GNU.sparse.")) {
      return OtherDialect("it is a pax sparse file");
    }
    rest.remove_prefix(length);
  }
  return {};
}

Status TarHeaderParser::Complete(ByteView header) {
  if (!has_path_) {
    std::string path(Text(Part(header, kName)));
    const std::string_view prefix = Text(Part(header, kPrefix));
    if (AsText(Part(header, kMagic)) == kPosixMagic && !prefix.empty()) {
      path = std::string(prefix) + "/" + path;
    }
    HF_RETURN_IF_ERROR(SetPath(std::move(path)));
  }
  HF_TRY(const std::uint64_t mode, OptionalNumber(Part(header, kMode), "its mode"));
  if (mode > 0xffffffff) return Damaged("its mode does not fit 32 bits");
  entry_.mode = static_cast<std::uint32_t>(mode);
  HF_TRY(entry_.mtime, OptionalNumber(Part(header, kMtime), "its time"));
  entry_.real_size = entry_.stored_size;
  switch (entry_.type) {
    case TarEntryType::kDirectory:
      if (entry_.stored_size != 0) return OtherDialect("it is a directory with data");
      break;
    case TarEntryType::kFile:
      if (entry_.path.back() == '/') return OtherDialect("it is a file whose path ends with '/'");
      if (entry_.stored_size != 0) entry_.runs.push_back({0, entry_.stored_size});
      break;
    case TarEntryType::kSparse: {
      if (entry_.path.back() == '/') return OtherDialect("it is a file whose path ends with '/'");
      HF_TRY(entry_.real_size, Number(Part(header, kRealSize), "its real size"));
      HF_RETURN_IF_ERROR(AddRuns(Part(header, kRuns)));
      if (header[kMoreRuns] == std::byte{0}) return EndRuns();
      if (header[kMoreRuns] != std::byte{1}) {
        return Damaged("its sparse map goes on by a flag that is neither 0 nor 1");
      }
      expect_ = Expect::kSparseMap;
      return {};
    }
  }
  complete_ = true;
  return {};
}

Status TarHeaderParser::AddRuns(ByteView descriptors) {
  for (; !descriptors.empty(); descriptors = descriptors.subspan(kRunBytes)) {
    const ByteView offset = descriptors.first(kNumberBytes);
    const ByteView length = descriptors.subspan(kNumberBytes, kNumberBytes);
    // The server's reader skips those too.
    if (offset[0] == std::byte{0} || length[0] == std::byte{0}) continue;
    HF_TRY(const std::uint64_t at, Number(offset, "an offset in its sparse map"));
    HF_TRY(const std::uint64_t count, Number(length, "a length in its sparse map"));
    HF_RETURN_IF_ERROR(AddRun(at, count));
  }
  return {};
}

/// The checks are those of the server's reader (tar crate 0.4.46, parse_sparse_header), so that
/// what is captured can be restored.
Status TarHeaderParser::AddRun(std::uint64_t offset, std::uint64_t length) {
  const auto place = [&] {
    return " (" + std::to_string(length) + " bytes at " + std::to_string(offset) + ")";
  };
  if (offset < map_end_) return Damaged("its sparse map is out of order" + place());
  if (length > entry_.real_size || offset > entry_.real_size - length) {
    return Damaged("its sparse map leaves the file of " + std::to_string(entry_.real_size) +
                   " bytes" + place());
  }
  if (length > entry_.stored_size - map_sum_) {
    return Damaged("its sparse map has more than the stored " + std::to_string(entry_.stored_size) +
                   " bytes");
  }
  map_end_ = offset + length;
  if (length == 0) return {};
  if (map_sum_ % kTarBlockBytes != 0) {
    return Damaged("its sparse map has a run that is not a multiple of 512 bytes" + place());
  }
  map_sum_ += length;
  entry_.runs.push_back({offset, length});
  return {};
}

Status TarHeaderParser::EndRuns() {
  if (map_sum_ != entry_.stored_size) {
    return Damaged("its sparse map has " + std::to_string(map_sum_) + " of the stored " +
                   std::to_string(entry_.stored_size) + " bytes");
  }
  if (map_end_ != entry_.real_size) {
    return Damaged("its sparse map ends at " + std::to_string(map_end_) + " of " +
                   std::to_string(entry_.real_size) + " bytes");
  }
  complete_ = true;
  return {};
}

}  // namespace holdfast
