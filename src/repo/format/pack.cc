#include "repo/format/pack.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/assert.h"

namespace holdfast {
namespace {

constexpr std::string_view kMagic = "HFP1";
constexpr std::string_view kEndMagic = "HFPE";
constexpr std::string_view kContext = "holdfast pack v1";
constexpr std::uint64_t kFooterCounter = std::numeric_limits<std::uint64_t>::max();

Bytes PackAad(const KeyRing& keys, const PackId& pack, std::uint64_t counter,
              const BlockIdentity& block) {
  Bytes aad;
  aad.reserve(128);
  Append(aad, AsBytes(kContext));
  Append(aad, keys.repository());
  Append(aad, pack);
  AppendU64(aad, counter);
  Append(aad, block.name);
  aad.push_back(std::byte{block.codec});
  AppendU32(aad, block.plain_size);
  return aad;
}

Bytes MakeHeader(const KeyRing& keys) {
  Bytes header = ToBytes(AsBytes(kMagic));
  header.push_back(static_cast<std::byte>(keys.sealing()));
  header.resize(kPackHeaderBytes);
  return header;
}

std::size_t SealedFooterBytes(std::size_t blocks) {
  return sizeof(std::uint32_t) + blocks * kPackEntryBytes + Sealer::kTagBytes;
}

Error Damaged(std::string_view key, std::string_view what) {
  return Error(ErrorCode::kDataLoss, fmt::format("{} is damaged: {}", key, what));
}

}  // namespace

Result<std::vector<PackEntry>> ParsePackFooter(std::string_view key, ByteView footer,
                                               std::uint64_t footer_offset) {
  ByteReader reader(footer, key);
  HF_TRY(const std::uint32_t count, reader.U32());
  if (count == 0 || reader.left() != std::size_t{count} * kPackEntryBytes) {
    return Damaged(key, "its footer has a wrong size");
  }
  std::vector<PackEntry> entries(count);
  std::uint64_t offset = kPackHeaderBytes;
  for (std::uint32_t position = 0; position < count; ++position) {
    PackEntry& entry = entries[position];
    HF_TRY(const ByteView name, reader.Take(entry.block.name.size()));
    std::ranges::copy(name, entry.block.name.begin());
    entry.place.position = position;
    HF_TRY(entry.place.offset, reader.U32());
    HF_TRY(entry.place.sealed_size, reader.U32());
    HF_TRY(entry.block.plain_size, reader.U32());
    HF_TRY(entry.block.codec, reader.U8());
    if (entry.place.offset != offset || entry.place.sealed_size <= Sealer::kTagBytes) {
      return Damaged(key, fmt::format("its footer places block {} wrongly", position));
    }
    offset += entry.place.sealed_size;
  }
  if (offset != footer_offset) return Damaged(key, "its footer is not where it should be");
  return entries;
}

PackBuilder::PackBuilder(const KeyRing& keys, const PackId& id, Bytes& buffer)
    : keys_(keys), id_(id), sealer_(keys.PackSealer(id)), buffer_(buffer) {
  buffer_.clear();
  Append(buffer_, MakeHeader(keys_));
}

bool PackBuilder::Fits(std::size_t coded_size) const noexcept {
  return entries_.empty() || buffer_.size() + coded_size + Sealer::kTagBytes +
                                     SealedFooterBytes(entries_.size() + 1) + kPackTrailerBytes <=
                                 kPackBytesWanted;
}

BlockPlace PackBuilder::Add(const BlockIdentity& block, ByteView coded) {
  HF_ASSERT(!coded.empty() && Fits(coded.size()));
  PackEntry& entry = entries_.emplace_back();
  entry.block = block;
  entry.place.position = static_cast<std::uint32_t>(entries_.size() - 1);
  entry.place.offset = static_cast<std::uint32_t>(buffer_.size());
  entry.place.sealed_size = static_cast<std::uint32_t>(coded.size() + Sealer::kTagBytes);
  const std::uint64_t counter = entry.place.position;
  sealer_->SealChunk(counter, PackAad(keys_, id_, counter, block), coded, buffer_);
  return entry.place;
}

void PackBuilder::Finish() {
  HF_ASSERT(!entries_.empty());
  Bytes footer;
  footer.reserve(SealedFooterBytes(entries_.size()));
  AppendU32(footer, static_cast<std::uint32_t>(entries_.size()));
  for (const PackEntry& entry : entries_) {
    Append(footer, entry.block.name);
    AppendU32(footer, entry.place.offset);
    AppendU32(footer, entry.place.sealed_size);
    AppendU32(footer, entry.block.plain_size);
    footer.push_back(std::byte{entry.block.codec});
  }
  const std::size_t before = buffer_.size();
  sealer_->SealChunk(kFooterCounter, PackAad(keys_, id_, kFooterCounter, {}), footer, buffer_);
  AppendU32(buffer_, static_cast<std::uint32_t>(buffer_.size() - before));
  Append(buffer_, AsBytes(kEndMagic));
}

PackOpener::PackOpener(const KeyRing& keys, const PackId& id, std::string_view key)
    : keys_(keys), id_(id), key_(key), sealer_(keys.PackSealer(id)) {}

Result<std::vector<PackEntry>> PackOpener::ReadFooter(ByteView pack) const {
  if (pack.size() < kPackHeaderBytes ||
      !std::ranges::equal(pack.first(kPackHeaderBytes), MakeHeader(keys_))) {
    return Damaged(key_, "its header is not a pack's");
  }
  std::size_t needed = 0;
  return ReadFooterFromEnd(pack, pack.size(), needed);
}

Result<std::vector<PackEntry>> PackOpener::ReadFooterFromEnd(ByteView end, std::uint64_t pack_size,
                                                             std::size_t& needed) const {
  needed = 0;
  if (end.size() < kPackTrailerBytes || pack_size < end.size() || pack_size > kPackBytesMax) {
    return Damaged(key_, "it has a wrong size");
  }
  ByteReader reader(end.last(kPackTrailerBytes), key_);
  HF_TRY(const std::uint32_t length, reader.U32());
  HF_TRY(const ByteView magic, reader.Take(kEndMagic.size()));
  if (AsText(magic) != kEndMagic) return Damaged(key_, "its end is missing");
  const std::uint64_t behind_header = pack_size - kPackTrailerBytes;
  if (length < SealedFooterBytes(1) || length > behind_header) {
    return Damaged(key_, "the size of its footer is wrong");
  }
  if (length + kPackTrailerBytes > end.size()) {
    needed = length + kPackTrailerBytes;
    return Error(ErrorCode::kResourceExhausted,
                 fmt::format("the footer of {} has {} bytes", key_, length));
  }
  const ByteView sealed = end.subspan(end.size() - kPackTrailerBytes - length, length);
  Bytes footer;
  if (!sealer_->OpenChunk(kFooterCounter, PackAad(keys_, id_, kFooterCounter, {}), sealed, footer)
           .ok()) {
    return Damaged(key_, "its footer does not open");
  }
  return ParsePackFooter(key_, footer, behind_header - length);
}

Status PackOpener::OpenBlock(const BlockIdentity& block, const BlockPlace& place, ByteView sealed,
                             Codec& codec, Bytes& out) const {
  const auto damaged = [&](std::string_view what) {
    return Damaged(key_, fmt::format("block {} {}", place.position, what));
  };
  if (block.plain_size == 0 || block.plain_size > kBlockBytesMax) return damaged("has no size");
  if (sealed.size() != place.sealed_size) return damaged("is cut short");
  Bytes coded;
  if (!sealer_->OpenChunk(place.position, PackAad(keys_, id_, place.position, block), sealed, coded)
           .ok()) {
    return damaged("does not open");
  }
  const std::size_t before = out.size();
  const Status decoded = codec.Decode(block.codec, coded, block.plain_size, out);
  if (!decoded.ok()) {
    return decoded.error().While(fmt::format("block {} of {}", place.position, key_));
  }
  if (keys_.NameBlock(ByteView(out).subspan(before)) != block.name) {
    out.resize(before);
    return damaged("has other bytes than its name says");
  }
  return {};
}

}  // namespace holdfast
