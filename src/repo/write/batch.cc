#include "repo/write/batch.h"

#include "repo/format/key_ring.h"

namespace holdfast {
namespace {

/// True when a parent has this very block at this very place.
bool IsOfParent(BatchBlock& block) {
  for (std::size_t parent = 0; parent < kParentsMax; ++parent) {
    const auto& candidate = block.candidates[parent];
    if (!candidate || candidate->block.plain_size != block.size ||
        candidate->block.name != block.identity.name) {
      continue;
    }
    block.fate = BatchBlock::Fate::kOfParent;
    block.parent = static_cast<std::uint8_t>(parent);
    return true;
  }
  return false;
}

}  // namespace

void WorkOnBatch(const KeyRing& keys, const KnownBlocks& known, Codec& codec, Batch& batch) {
  for (BatchBlock& block : batch.blocks) {
    const ByteView plain = ByteView(batch.plain).subspan(block.offset, block.size);
    block.identity.name = keys.NameBlock(plain);
    block.identity.plain_size = block.size;
    if (IsOfParent(block)) continue;
    if (const auto found = known.Find(block.identity.name)) {
      block.fate = BatchBlock::Fate::kKnown;
      block.known = *found;
      continue;
    }
    block.coded_offset = static_cast<std::uint32_t>(batch.coded.size());
    block.identity.codec = static_cast<std::uint8_t>(codec.Encode(plain, batch.coded));
    block.coded_size = static_cast<std::uint32_t>(batch.coded.size() - block.coded_offset);
  }
}

}  // namespace holdfast
