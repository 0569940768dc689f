#include "repo/format/document.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.h"
#include "store/object_store.h"
#include "stream/codec.h"

namespace holdfast {
namespace {

constexpr std::string_view kMagic = "HFD1";
constexpr std::string_view kContext = "holdfast document v1";
constexpr int kZstdLevel = 3;

Bytes DocumentAad(const KeyRing& keys, std::string_view key, const ChunkPlace& place) {
  Bytes aad = ToBytes(AsBytes(kContext));
  Append(aad, keys.repository());
  Append(aad, place.salt);
  AppendU32(aad, static_cast<std::uint32_t>(key.size()));
  Append(aad, AsBytes(key));
  AppendU64(aad, place.number);
  aad.push_back(std::byte{place.last ? std::uint8_t{1} : std::uint8_t{0}});
  return aad;
}

Error Damaged(std::string_view key, std::string_view what) {
  return Error(ErrorCode::kDataLoss, fmt::format("{} is damaged: {}", key, what));
}

/// The document's salt, when the header is one of ours.
Result<Salt> TakeHeader(const KeyRing& keys, std::string_view key, ByteReader& reader) {
  const auto header = reader.Take(kDocumentHeaderBytes);
  if (!header.ok()) return Damaged(key, "it is cut short");
  const std::string_view magic = AsText(header->first(4));
  if (magic.substr(0, 3) != kMagic.substr(0, 3)) return Damaged(key, "it is no document");
  if (magic != kMagic) {
    return Error(ErrorCode::kUnsupported,
                 fmt::format("{} is a document of an unknown version, or damaged", key),
                 "Use a newer version of holdfast");
  }
  if (std::to_integer<std::uint8_t>((*header)[4]) != static_cast<std::uint8_t>(keys.sealing())) {
    return Damaged(key, "it is sealed otherwise than the repository");
  }
  const ByteView reserved = header->subspan(5, 3);
  if (std::ranges::any_of(reserved, [](std::byte b) { return b != std::byte{0}; })) {
    return Damaged(key, "its header was changed");
  }
  Salt salt;
  std::ranges::copy(header->subspan(8, salt.size()), salt.begin());
  return salt;
}

Status OpenChunk(const KeyRing& keys, const Sealer& sealer, std::string_view key,
                 const ChunkPlace& place, ByteView sealed, Bytes& out) {
  Bytes frame;
  const std::size_t before = out.size();
  if (!sealer.OpenChunk(place.number, DocumentAad(keys, key, place), sealed, frame).ok() ||
      !ZstdDecompress(frame, kChunkBytes, out).ok()) {
    out.resize(before);
    return Damaged(key, fmt::format("chunk {} does not open", place.number));
  }
  if (!place.last && out.size() - before != kChunkBytes) {
    out.resize(before);
    return Damaged(key, fmt::format("chunk {} has a wrong size", place.number));
  }
  return {};
}

}  // namespace

DocumentWriter::DocumentWriter(const KeyRing& keys, SecureRandom& random, std::string_view key)
    : keys_(keys),
      key_(key),
      salt_(random.Draw<std::tuple_size_v<Salt>>()),
      sealer_(keys.DocumentSealer(salt_)) {
  Append(object_, AsBytes(kMagic));
  object_.push_back(static_cast<std::byte>(keys.sealing()));
  object_.resize(8);
  Append(object_, salt_);
}

std::uint32_t DocumentWriter::AddChunk(ByteView content, bool last) {
  HF_ASSERT(last ? content.size() <= kChunkBytes : content.size() == kChunkBytes);
  frame_.clear();
  ZstdCompress(content, kZstdLevel, frame_);
  const auto sealed = static_cast<std::uint32_t>(frame_.size() + Sealer::kTagBytes);
  AppendU32(object_, sealed);
  const ChunkPlace place{.salt = salt_, .number = chunks_++, .last = last};
  sealer_->SealChunk(place.number, DocumentAad(keys_, key_, place), frame_, object_);
  return sealed;
}

Result<Bytes> SealDocument(const KeyRing& keys, SecureRandom& random, std::string_view key,
                           ByteView content) {
  const auto too_large = [&] {
    return Error(ErrorCode::kResourceExhausted,
                 fmt::format("{} would be larger than {}", key, FormatSize(kDocumentContentMax)));
  };
  if (content.size() > kDocumentContentMax) return too_large();
  DocumentWriter writer(keys, random, key);
  do {
    const std::size_t size = std::min(content.size(), kChunkBytes);
    writer.AddChunk(content.first(size), size == content.size());
    content = content.subspan(size);
  } while (!content.empty());
  if (writer.object().size() > ObjectStore::kObjectSizeMax) return too_large();
  return writer.Take();
}

Result<Bytes> OpenDocument(const KeyRing& keys, std::string_view key, ByteView object) {
  ByteReader reader(object, key);
  HF_TRY(const Salt salt, TakeHeader(keys, key, reader));
  const std::unique_ptr<Sealer> sealer = keys.DocumentSealer(salt);
  Bytes content;
  for (std::uint64_t number = 0;; ++number) {
    const auto size = reader.U32();
    if (!size.ok()) return Damaged(key, "it is cut short");
    const auto sealed = reader.Take(*size);
    if (!sealed.ok()) return Damaged(key, "it is cut short");
    const bool last = reader.left() == 0;
    HF_RETURN_IF_ERROR(OpenChunk(keys, *sealer, key, {.salt = salt, .number = number, .last = last},
                                 *sealed, content));
    if (content.size() > kDocumentContentMax) return Damaged(key, "it is too large");
    if (last) return content;
  }
}

Result<Bytes> OpenDocumentChunk(const KeyRing& keys, std::string_view key, const ChunkPlace& place,
                                ByteView sealed) {
  Bytes content;
  HF_RETURN_IF_ERROR(
      OpenChunk(keys, *keys.DocumentSealer(place.salt), key, place, sealed, content));
  return content;
}

Result<Bytes> ReadDocument(const CallContext& call, ObjectStore& store, const KeyRing& keys,
                           std::string_view key) {
  HF_TRY(const Bytes object, store.Get(call, key));
  return OpenDocument(keys, key, object);
}

}  // namespace holdfast
