// Segments read ahead by several threads and given out in order.

#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "exec/linked_stop.h"
#include "repo/image_reader.h"
#include "repo/read/segment.h"
#include "stream/byte_source.h"

namespace holdfast {

class SegmentSource final : public ByteSource {
 public:
  /// What the whole has to be; checked at its end.
  struct Expected {
    std::uint64_t bytes = 0;
    Digest sha256{};
  };

  /// `repository` and `packs` must outlive it. Ends early, with kCancelled, when `call` is stopped.
  SegmentSource(const CallContext& call, const Repository& repository, const PackTable& packs,
                std::unique_ptr<ElementSource> elements, const ImageReadOptions& options,
                std::optional<Expected> expected, std::string what);
  ~SegmentSource() override;

  Result<std::size_t> Read(const CallContext& call, std::span<std::byte> into) override;

 private:
  struct Slot {
    std::uint64_t size = 0;
    std::optional<Result<Bytes>> bytes;
  };

  void Fetch();
  Result<std::size_t> AtEnd();
  Status NextFront(const CallContext& call);

  const Repository& repository_;
  const PackTable& packs_;
  const std::uint64_t read_ahead_bytes_;
  const std::optional<Expected> expected_;
  const std::string what_;
  LinkedStop stop_;

  std::mutex plan_mutex_;  ///< Taken before mutex_.
  Segmenter segmenter_;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::shared_ptr<Slot>> slots_;
  std::uint64_t ahead_bytes_ = 0;
  bool planned_all_ = false;
  /// The buffer that was read last, for the next segment: fresh pages cost as much as copying.
  Bytes spare_;

  // Of the reading thread.
  Bytes front_;
  std::size_t front_used_ = 0;
  std::uint64_t bytes_ = 0;
  Sha256 sha256_;
  std::optional<Error> error_;
  bool ended_ = false;

  std::vector<std::jthread> threads_;
};

}  // namespace holdfast
