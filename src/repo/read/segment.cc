#include "repo/read/segment.h"

#include <fmt/format.h>

#include <algorithm>

#include "repo/format/pack.h"
#include "repo/repository.h"
#include "store/object_store.h"

namespace holdfast {
namespace {

/// Bytes of other blocks that are read along rather than making another request.
constexpr std::uint64_t kGapMax = 64 * kKiB;

Result<Bytes> GetStretch(const CallContext& call, const Repository& repository,
                         const std::string& key, const Segment& segment) {
  auto sealed = repository.store().Get(
      call, key, ByteRange{.offset = segment.begin, .size = segment.end - segment.begin});
  if (sealed.ok()) return sealed;
  if (sealed.error().code() == ErrorCode::kNotFound) {
    return Error(ErrorCode::kDataLoss, fmt::format("{} is missing", key));
  }
  if (sealed.error().code() == ErrorCode::kInvalidArgument) {
    return Error(ErrorCode::kDataLoss, fmt::format("{} is shorter than recorded", key));
  }
  return sealed;
}

}  // namespace

bool Segmenter::Take(Segment& segment) {
  Element& element = *ahead_;
  if (element.zeros > bytes_max_) {
    // A hole may be larger than memory.
    if (!segment.elements.empty()) return false;
    element.zeros -= bytes_max_;
    segment.elements.push_back({.literal = {}, .zeros = bytes_max_, .block = std::nullopt});
    segment.size = bytes_max_;
    return false;
  }
  if (segment.size > 0 && segment.size + element.size() > bytes_max_) return false;
  if (element.block) {
    const std::uint64_t begin = element.block->place.offset;
    const std::uint64_t end = begin + element.block->place.sealed_size;
    if (!segment.pack) {
      segment.pack = element.block->pack;
      segment.begin = begin;
      segment.end = end;
    } else {
      if (*segment.pack != element.block->pack) return false;
      const bool behind = begin >= segment.end && begin - segment.end <= kGapMax;
      // Blocks of equal bytes are one block: a second look at it needs no second request.
      const bool inside = begin >= segment.begin && end <= segment.end;
      if (!behind && !inside) return false;
      segment.end = std::max(segment.end, end);
    }
  }
  segment.size += element.size();
  segment.elements.push_back(std::move(element));
  ahead_.reset();
  return true;
}

Result<std::optional<Segment>> Segmenter::Next(const CallContext& call) {
  Segment segment;
  for (;;) {
    if (!ahead_) {
      HF_TRY(ahead_, source_->Next(call));
      if (!ahead_) break;
    }
    if (!Take(segment)) break;
  }
  if (segment.elements.empty()) return std::optional<Segment>();
  return std::optional(std::move(segment));
}

Result<Bytes> ReadSegment(const CallContext& call, const Repository& repository,
                          const PackTable& packs, const Segment& segment, Codec& codec, Bytes out) {
  Bytes sealed;
  std::string key;
  std::optional<PackOpener> opener;
  if (segment.pack) {
    key = packs.KeyOf(*segment.pack);
    opener.emplace(repository.keys(), packs.id(*segment.pack), key);
    HF_TRY(sealed, GetStretch(call, repository, key, segment));
  }
  out.reserve(segment.size);
  for (const Element& element : segment.elements) {
    if (!element.block) {
      Append(out, element.literal);
      out.resize(out.size() + element.zeros);
      continue;
    }
    const BlockPlace& place = element.block->place;
    HF_RETURN_IF_ERROR(opener->OpenBlock(
        element.block->block, place,
        ByteView(sealed).subspan(place.offset - segment.begin, place.sealed_size), codec, out));
  }
  return out;
}

}  // namespace holdfast
