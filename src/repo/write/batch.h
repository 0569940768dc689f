// Some blocks of one image on their way from the stream to a pack.

#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "exec/memory_budget.h"
#include "repo/write/known_blocks.h"
#include "repo/write/parent_image.h"
#include "stream/codec.h"

namespace holdfast {

class KeyRing;
struct ImageWriterState;

/// Images that one image is compared with: one of a group, one of a broken attempt.
constexpr std::size_t kParentsMax = 2;
/// A batch is closed at this many plain bytes or blocks.
constexpr std::size_t kBatchBytes = 512 * 1024;
constexpr std::size_t kBatchBlocks = 256;

/// One block that was cut.
struct BatchBlock {
  enum class Fate : std::uint8_t { kNew, kOfParent, kKnown };

  std::uint64_t file_offset = 0;
  /// In Batch::plain.
  std::uint32_t offset = 0;
  std::uint32_t size = 0;
  std::array<ParentSpan, kParentsMax> spans{};
  /// Records of the parents at the same place in the same file.
  std::array<std::optional<BlockRecord>, kParentsMax> candidates;

  // Found out by the job.
  Fate fate = Fate::kNew;
  std::uint8_t parent = 0;
  BlockIdentity identity;
  KnownBlock known;
  /// In Batch::coded, of a new block.
  std::uint32_t coded_offset = 0;
  std::uint32_t coded_size = 0;
};

struct Batch {
  std::shared_ptr<ImageWriterState> image;
  Bytes plain;
  Bytes coded;
  std::vector<BatchBlock> blocks;
  /// Blocks whose candidates have been looked for.
  std::size_t resolved = 0;
  /// Debt of the image for this batch.
  std::uint64_t charged = 0;
  MemoryBudget::Lease memory;
};

/// Buffers that go round, so that the heap does not break up. Thread-safe.
class BufferPool {
 public:
  Bytes Take() {
    const std::scoped_lock lock(mutex_);
    if (buffers_.empty()) return {};
    Bytes buffer = std::move(buffers_.back());
    buffers_.pop_back();
    return buffer;
  }
  void Give(Bytes buffer) {
    if (buffer.capacity() == 0) return;
    buffer.clear();
    const std::scoped_lock lock(mutex_);
    if (buffers_.size() < kKept) buffers_.push_back(std::move(buffer));
  }

 private:
  static constexpr std::size_t kKept = 16;
  std::mutex mutex_;
  std::vector<Bytes> buffers_;
};

/// Codecs that go round among the threads of the pool. Thread-safe.
class CodecPool {
 public:
  std::unique_ptr<Codec> Take() {
    const std::scoped_lock lock(mutex_);
    if (codecs_.empty()) return std::make_unique<Codec>();
    std::unique_ptr<Codec> codec = std::move(codecs_.back());
    codecs_.pop_back();
    return codec;
  }
  void Give(std::unique_ptr<Codec> codec) {
    const std::scoped_lock lock(mutex_);
    codecs_.push_back(std::move(codec));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Codec>> codecs_;
};

/// Names the blocks, finds out which are known, and codes the others: the work of the CPU pool.
void WorkOnBatch(const KeyRing& keys, const KnownBlocks& known, Codec& codec, Batch& batch);

}  // namespace holdfast
