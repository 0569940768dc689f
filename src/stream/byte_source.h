// Bytes that are pulled.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"

namespace holdfast {

class ByteSink;

/// A stream that is read from front to back. One thread at a time.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Fills the front of `into` (not empty) and returns how much; 0 means the end, and every later
  /// call returns 0 too. May return fewer bytes than fit. After an error the stream is over.
  virtual Result<std::size_t> Read(const CallContext& call, std::span<std::byte> into) = 0;
};

/// Bytes in memory, which the caller keeps alive.
class BytesSource final : public ByteSource {
 public:
  explicit BytesSource(ByteView bytes) : rest_(bytes) {}
  Result<std::size_t> Read(const CallContext& call, std::span<std::byte> into) override;

 private:
  ByteView rest_;
};

/// Moves everything from `source` to `sink` in pieces of at most `buffer_bytes`. How much it was.
Result<std::uint64_t> CopyAll(const CallContext& call, ByteSource& source, ByteSink& sink,
                              std::size_t buffer_bytes = 256 * 1024);

}  // namespace holdfast
