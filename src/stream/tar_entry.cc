#include "stream/tar_entry.h"

#include <algorithm>
#include <span>
#include <utility>

#include "stream/tar_header.h"
#include "stream/tar_layout.h"

namespace holdfast {
namespace {

using namespace tar_layout;

Error Refused(std::string what) { return {ErrorCode::kInvalidArgument, std::move(what)}; }

void PutText(std::span<std::byte> block, Field field, std::string_view text) {
  const ByteView bytes = AsBytes(text).first(std::min(text.size(), field.size));
  std::copy(bytes.begin(), bytes.end(), block.begin() + static_cast<std::ptrdiff_t>(field.at));
}

/// Octal digits and a zero byte, or base-256 where they do not suffice.
void PutNumber(std::span<std::byte> block, Field field, std::uint64_t value) {
  const std::span<std::byte> to = block.subspan(field.at, field.size);
  const bool fits = value >> (3 * (field.size - 1)) == 0;
  const unsigned bits = fits ? 3 : 8;
  if (fits) to.back() = std::byte{0};
  for (std::size_t i = fits ? to.size() - 1 : to.size(); i > 0; --i) {
    to[i - 1] = static_cast<std::byte>((fits ? '0' : 0) + (value & ((1U << bits) - 1)));
    value >>= bits;
  }
  if (!fits) to.front() |= std::byte{0x80};
}

void PutRuns(std::span<std::byte> block, Field field, std::span<const DataRun> runs) {
  std::size_t at = field.at;
  for (const DataRun& run : runs) {
    PutNumber(block, {at, kNumberBytes}, run.offset);
    PutNumber(block, {at + kNumberBytes, kNumberBytes}, run.length);
    at += kRunBytes;
  }
}

struct HeaderFields {
  std::string_view name;
  char type;
  std::uint64_t size;
  std::uint32_t mode;
  std::uint64_t mtime;
};

/// A block of zeros at the end of `headers`; valid until the next one is added.
std::span<std::byte> AddBlock(Bytes& headers) {
  headers.resize(headers.size() + kTarBlockBytes);
  return std::span(headers).last(kTarBlockBytes);
}

void PutFields(std::span<std::byte> block, const HeaderFields& fields) {
  PutText(block, kName, fields.name);
  PutNumber(block, kMode, fields.mode);
  PutNumber(block, kUid, 0);
  PutNumber(block, kGid, 0);
  PutNumber(block, kSize, fields.size);
  PutNumber(block, kMtime, fields.mtime);
  block[kType.at] = static_cast<std::byte>(fields.type);
  PutText(block, kMagic, kGnuMagic);
}

/// Six octal digits, a zero byte and a space, over everything else with the field as spaces.
void PutChecksum(std::span<std::byte> block) {
  PutText(block, kChecksum, "        ");
  std::uint64_t sum = 0;
  for (const std::byte b : block) sum += std::to_integer<std::uint64_t>(b);
  PutNumber(block, {kChecksum.at, kChecksum.size - 1}, sum);
}

void AddLongName(Bytes& headers, std::string_view path) {
  const std::span<std::byte> block = AddBlock(headers);
  PutFields(block, {.name = "././@LongLink",
                    .type = kTypeLongName,
                    .size = path.size() + 1,
                    .mode = 0644,
                    .mtime = 0});
  PutChecksum(block);
  Append(headers, AsBytes(path));
  headers.resize(headers.size() + 1);
  headers.resize(headers.size() + TarPaddingBytes(headers.size()));
}

Status CheckRuns(const TarEntry& entry) {
  std::uint64_t end = 0;
  bool aligned = true;
  for (const DataRun& run : entry.runs) {
    const bool inside = run.length <= entry.real_size && run.offset <= entry.real_size - run.length;
    if (run.length == 0 || run.offset < end || !inside || !aligned) {
      return Refused("a run of " + std::to_string(run.length) + " bytes at " +
                     std::to_string(run.offset) +
                     " is empty, out of order, outside of the file or behind one that is not a "
                     "multiple of 512 bytes");
    }
    end = run.offset + run.length;
    aligned = run.length % kTarBlockBytes == 0;
  }
  return {};
}

Status CheckShape(const TarEntry& entry) {
  if (entry.real_size >> 63 != 0) return Refused("its size does not fit 63 bits");
  if (entry.mode > 07777777) return Refused("its mode does not fit seven octal digits");
  if (entry.mtime >> 63 != 0) return Refused("its time does not fit 63 bits");
  const bool folder = entry.type == TarEntryType::kDirectory;
  if (folder && entry.real_size != 0) return Refused("a directory has no size");
  if (!folder && entry.path.back() == '/') return Refused("the path of a file ends with '/'");
  HF_RETURN_IF_ERROR(CheckRuns(entry));
  const bool covered = entry.real_size == 0
                           ? entry.runs.empty()
                           : entry.runs == std::vector<DataRun>{{0, entry.real_size}};
  if (entry.type == TarEntryType::kFile && !covered) {
    return Refused("the data of a regular file does not cover it");
  }
  return {};
}

char TypeOf(TarEntryType type) {
  switch (type) {
    case TarEntryType::kFile:
      return kTypeFile;
    case TarEntryType::kSparse:
      return kTypeSparse;
    case TarEntryType::kDirectory:
      break;
  }
  return kTypeDirectory;
}

}  // namespace

std::string_view TarEntryTypeName(TarEntryType type) noexcept {
  switch (type) {
    case TarEntryType::kFile:
      return "regular file";
    case TarEntryType::kSparse:
      return "sparse file";
    case TarEntryType::kDirectory:
      break;
  }
  return "directory";
}

Result<TarEntry> ParseTarHeaders(ByteView headers, const TarLimits& limits) {
  TarHeaderParser parser(limits);
  while (headers.size() >= kTarBlockBytes) {
    HF_TRY(const TarHeaderParser::Step step, parser.Add(headers.first(kTarBlockBytes)));
    headers = headers.subspan(kTarBlockBytes);
    if (step == TarHeaderParser::Step::kMore) continue;
    if (!headers.empty()) break;
    return parser.Take();
  }
  return Error(ErrorCode::kDataLoss, "these are not the tar headers of exactly one entry");
}

Result<Bytes> MakeTarHeaders(const TarEntry& entry) {
  const std::string doing = "make tar headers of '" + entry.path + "'";
  if (Status path = CheckTarPath(entry.path, {}); !path.ok()) {
    return std::move(path).error().As(ErrorCode::kInvalidArgument).While(doing);
  }
  if (Status shape = CheckShape(entry); !shape.ok()) return std::move(shape).error().While(doing);

  Bytes headers;
  if (entry.path.size() > kName.size) AddLongName(headers, entry.path);
  std::uint64_t stored = 0;
  for (const DataRun& run : entry.runs) stored += run.length;
  const std::span<std::byte> block = AddBlock(headers);
  PutFields(block, {.name = entry.path,
                    .type = TypeOf(entry.type),
                    .size = stored,
                    .mode = entry.mode,
                    .mtime = entry.mtime});
  std::vector<DataRun> runs;
  if (entry.type == TarEntryType::kSparse) {
    runs = entry.runs;
    // The server's reader wants the map to reach the end of the file.
    const bool reaches_end =
        !runs.empty() && runs.back().offset + runs.back().length == entry.real_size;
    if (!reaches_end) runs.push_back({entry.real_size, 0});
    PutNumber(block, kRealSize, entry.real_size);
  }
  std::span<const DataRun> rest(runs);
  const auto take = [&rest](std::size_t most) {
    const std::span<const DataRun> taken = rest.first(std::min(most, rest.size()));
    rest = rest.subspan(taken.size());
    return taken;
  };
  PutRuns(block, kRuns, take(kRuns.size / kRunBytes));
  block[kMoreRuns] = rest.empty() ? std::byte{0} : std::byte{1};
  PutChecksum(block);
  while (!rest.empty()) {
    const std::span<std::byte> more = AddBlock(headers);
    PutRuns(more, kBlockRuns, take(kBlockRuns.size / kRunBytes));
    more[kBlockMoreRuns] = rest.empty() ? std::byte{0} : std::byte{1};
  }
  return headers;
}

}  // namespace holdfast
