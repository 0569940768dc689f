// Packs: anything may stand in the store under a pack's key.

#include <cstddef>
#include <cstdint>

#include "repo/format/pack.h"
#include "stream/codec.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input = std::as_bytes(std::span(data, size));
  const KeyRing keys(Sealing::kNone, RepositoryId{}, Secret());
  const PackOpener opener(keys, PackId{}, "packs/fuzz");
  Codec codec;
  const auto open_all = [&](const Result<std::vector<PackEntry>>& footer) {
    if (!footer.ok()) return;
    for (const PackEntry& entry : *footer) {
      // Every entry must lie inside of what the footer covers.
      if (entry.place.offset + std::uint64_t{entry.place.sealed_size} > input.size()) continue;
      Bytes out;
      static_cast<void>(opener
                            .OpenBlock(entry.block, entry.place,
                                       input.subspan(entry.place.offset, entry.place.sealed_size),
                                       codec, out)
                            .ok());
    }
  };
  open_all(opener.ReadFooter(input));
  std::size_t needed = 0;
  open_all(opener.ReadFooterFromEnd(input, input.size() + 1'000, needed));
  // Behind a seal that opened: the parser alone.
  open_all(ParsePackFooter("packs/fuzz", input, input.size()));
  return 0;
}
