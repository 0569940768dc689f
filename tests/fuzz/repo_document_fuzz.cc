// Documents as objects: framing, seal, compression.

#include <cstddef>
#include <cstdint>

#include "base/assert.h"
#include "repo/format/document.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input = std::as_bytes(std::span(data, size));
  const KeyRing keys(Sealing::kNone, RepositoryId{}, Secret());
  const auto opened = OpenDocument(keys, "groups/fuzz", input);
  if (opened.ok()) HF_ASSERT(opened->size() <= kDocumentContentMax);
  static_cast<void>(
      OpenDocumentChunk(keys, "groups/fuzz", {.salt = {}, .number = 0, .last = true}, input).ok());
  // What was sealed here opens here.
  const auto sealed = SealDocument(keys, KernelRandom(), "groups/fuzz", input);
  HF_ASSERT(sealed.ok());
  const auto again = OpenDocument(keys, "groups/fuzz", *sealed);
  HF_ASSERT(again.ok() && std::ranges::equal(*again, input));
  return 0;
}
