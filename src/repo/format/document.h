// Documents: everything in a repository but packs and holdfast.json (format, section 5). Sealed in
// chunks under the object's own key, so that a moved or swapped document does not open.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"
#include "base/size.h"
#include "repo/format/key_ring.h"
#include "stream/crypto.h"

namespace holdfast {

class ObjectStore;

constexpr std::size_t kDocumentHeaderBytes = 40;
/// Plain bytes of every chunk but the last.
constexpr std::size_t kChunkBytes = kMiB;
constexpr std::size_t kDocumentContentMax = 64 * kMiB;

/// Seals one document chunk by chunk. One thread.
class DocumentWriter {
 public:
  /// `key`: the object's key. Draws a salt.
  DocumentWriter(const KeyRing& keys, SecureRandom& random, std::string_view key);

  /// Adds a chunk of at most kChunkBytes; all but the last have exactly that. Returns the length of
  /// its sealed bytes.
  std::uint32_t AddChunk(ByteView content, bool last);

  const Salt& salt() const noexcept { return salt_; }
  /// Bytes so far.
  const Bytes& object() const noexcept { return object_; }
  Bytes Take() { return std::move(object_); }

 private:
  const KeyRing& keys_;
  const std::string key_;
  const Salt salt_;
  const std::unique_ptr<Sealer> sealer_;
  Bytes object_;
  Bytes frame_;
  std::uint64_t chunks_ = 0;
};

/// A whole document. kResourceExhausted when `content` is above kDocumentContentMax.
Result<Bytes> SealDocument(const KeyRing& keys, SecureRandom& random, std::string_view key,
                           ByteView content);

/// The content of `object` as it was stored under `key`. kDataLoss naming the key when anything is
/// not as it was written; kUnsupported for another version of documents.
Result<Bytes> OpenDocument(const KeyRing& keys, std::string_view key, ByteView object);

/// Where one chunk of a document is.
struct ChunkPlace {
  Salt salt{};
  std::uint64_t number = 0;
  bool last = false;
};

/// The content of one chunk from its sealed bytes alone. kDataLoss naming key and chunk.
Result<Bytes> OpenDocumentChunk(const KeyRing& keys, std::string_view key, const ChunkPlace& place,
                                ByteView sealed);

/// Gets and opens the document under `key`. kNotFound as the store says.
Result<Bytes> ReadDocument(const CallContext& call, ObjectStore& store, const KeyRing& keys,
                           std::string_view key);

}  // namespace holdfast
