#include "stream/tar_reader.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>

#include "stream/tar_header.h"

namespace holdfast {
namespace {

enum class Phase {
  kHeaders,
  kData,
  kPadding,
  /// One zero block has been seen where an entry could begin.
  kMarker,
  /// The end marker is complete.
  kTail,
};

}  // namespace

struct TarReader::State {
  State(TarVisitor& to, const TarLimits& limits) : visitor(to), parser(limits) {}

  /// Takes what belongs to the current phase off the front of `slice`.
  Status Step(const CallContext& call, ByteView& slice);
  Status HeaderBlock(const CallContext& call, ByteView block);
  Status NextRun(const CallContext& call);
  Status EndEntry(const CallContext& call, ByteView padding);
  /// The next whole block, out of `slice` itself where it can be; nothing while it is incomplete.
  std::optional<ByteView> TakeBlock(ByteView& slice, std::size_t size);

  /// What is wrong with the tar, with the place; what a visitor says stands as it is.
  Error Bad(Error what, std::uint64_t at) const;
  Error Bad(std::string what, std::uint64_t at) const {
    return Bad(Error(ErrorCode::kDataLoss, std::move(what)), at);
  }
  bool at_boundary() const {
    return phase == Phase::kHeaders && parser.at_boundary() && partial_size == 0;
  }
  Status CheckEnd() const;

  TarVisitor& visitor;
  TarHeaderParser parser;
  Phase phase = Phase::kHeaders;
  std::uint64_t offset = 0;
  /// A block or padding that came in pieces.
  std::array<std::byte, kTarBlockBytes> partial{};
  std::size_t partial_size = 0;

  TarEntry entry;
  std::size_t run = 0;
  std::uint64_t in_run = 0;
  std::uint64_t stored = 0;

  /// Path of the last entry that was complete.
  std::string last_path;
  TarEnd end;
  std::optional<Error> error;
};

std::optional<ByteView> TarReader::State::TakeBlock(ByteView& slice, std::size_t size) {
  if (partial_size == 0 && slice.size() >= size) {
    const ByteView block = slice.first(size);
    slice = slice.subspan(size);
    offset += size;
    return block;
  }
  const std::size_t count = std::min(size - partial_size, slice.size());
  std::copy_n(slice.begin(), count, partial.begin() + static_cast<std::ptrdiff_t>(partial_size));
  slice = slice.subspan(count);
  offset += count;
  partial_size += count;
  if (partial_size < size) return std::nullopt;
  partial_size = 0;
  return ByteView(partial).first(size);
}

Status TarReader::State::Step(const CallContext& call, ByteView& slice) {
  switch (phase) {
    case Phase::kHeaders: {
      const std::optional<ByteView> block = TakeBlock(slice, kTarBlockBytes);
      return block ? HeaderBlock(call, *block) : Status();
    }
    case Phase::kData: {
      const DataRun& now = entry.runs[run];
      const std::size_t count =
          static_cast<std::size_t>(std::min<std::uint64_t>(slice.size(), now.length - in_run));
      const std::uint64_t at = now.offset + in_run;
      in_run += count;
      stored += count;
      offset += count;
      HF_RETURN_IF_ERROR(visitor.OnData(call, at, slice.first(count)));
      slice = slice.subspan(count);
      return in_run == now.length ? NextRun(call) : Status();
    }
    case Phase::kPadding: {
      const std::optional<ByteView> padding = TakeBlock(slice, TarPaddingBytes(entry.stored_size));
      if (!padding) return {};
      return EndEntry(call, IsAllZero(*padding) ? ByteView() : *padding);
    }
    case Phase::kMarker: {
      const std::optional<ByteView> block = TakeBlock(slice, kTarBlockBytes);
      if (!block) return {};
      if (!IsAllZero(*block)) {
        return Bad("a single zero block stands before it, neither an entry nor an end marker",
                   offset - kTarBlockBytes);
      }
      end.zero_bytes += kTarBlockBytes;
      phase = Phase::kTail;
      return {};
    }
    case Phase::kTail:
      if (!IsAllZero(slice)) return Bad("data stands behind the end marker", offset);
      end.zero_bytes += slice.size();
      offset += slice.size();
      slice = {};
      return {};
  }
  return {};
}

Status TarReader::State::HeaderBlock(const CallContext& call, ByteView block) {
  if (parser.at_boundary() && IsAllZero(block)) {
    phase = Phase::kMarker;
    end.zero_bytes = kTarBlockBytes;
    return {};
  }
  Result<TarHeaderParser::Step> step = parser.Add(block);
  if (!step.ok()) return Bad(std::move(step).error(), offset - kTarBlockBytes);
  if (*step == TarHeaderParser::Step::kMore) return {};
  entry = parser.Take();
  ++end.entries;
  run = 0;
  in_run = 0;
  stored = 0;
  phase = Phase::kData;
  HF_RETURN_IF_ERROR(visitor.OnEntry(call, entry));
  if (entry.runs.empty()) return EndEntry(call, {});
  return {};
}

Status TarReader::State::NextRun(const CallContext& call) {
  in_run = 0;
  if (++run < entry.runs.size()) return {};
  if (TarPaddingBytes(entry.stored_size) == 0) return EndEntry(call, {});
  phase = Phase::kPadding;
  return {};
}

Status TarReader::State::EndEntry(const CallContext& call, ByteView padding) {
  phase = Phase::kHeaders;
  last_path = entry.path;
  return visitor.OnEntryEnd(call, padding);
}

Error TarReader::State::Bad(Error what, std::uint64_t at) const {
  std::string place = "tar offset " + std::to_string(at);
  const bool in_data = phase == Phase::kData || phase == Phase::kPadding;
  if (in_data || !parser.path_so_far().empty()) {
    place += ", '" + (in_data ? entry.path : parser.path_so_far()) + "'";
  } else if (!last_path.empty()) {
    place += ", behind '" + last_path + "'";
  }
  return std::move(what).While(place);
}

Status TarReader::State::CheckEnd() const {
  std::string where;
  switch (phase) {
    case Phase::kTail:
      return {};
    case Phase::kMarker:
      where = "inside the end marker";
      break;
    case Phase::kPadding:
      where = "inside the padding of the entry";
      break;
    case Phase::kData:
      where = "after " + std::to_string(stored) + " of " + std::to_string(entry.stored_size) +
              " bytes of the entry";
      break;
    case Phase::kHeaders:
      where = at_boundary() ? "at an entry boundary without an end marker"
                            : "inside the headers of an entry";
      break;
  }
  return Bad("the tar breaks off " + where, offset);
}

TarReader::TarReader(TarVisitor& visitor, const TarLimits& limits)
    : state_(std::make_unique<State>(visitor, limits)) {}
TarReader::~TarReader() = default;
TarReader::TarReader(TarReader&&) noexcept = default;
TarReader& TarReader::operator=(TarReader&&) noexcept = default;

Status TarReader::Write(const CallContext& call, ByteView slice) {
  State& state = *state_;
  while (!state.error && !slice.empty()) {
    Status status = state.Step(call, slice);
    if (!status.ok()) state.error = std::move(status).error();
  }
  if (state.error) return *state.error;
  return {};
}

Result<TarEnd> TarReader::Finish(Marker marker) {
  const State& state = *state_;
  if (state.error) return *state.error;
  const bool ended = marker == Marker::kOptional && state.at_boundary();
  if (!ended) HF_RETURN_IF_ERROR(state.CheckEnd());
  TarEnd end = state.end;
  end.bytes = state.offset;
  return end;
}

bool TarReader::ended() const noexcept { return state_->phase == Phase::kTail; }
std::uint64_t TarReader::offset() const noexcept { return state_->offset; }

}  // namespace holdfast
