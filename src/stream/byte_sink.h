// Bytes that are pushed.

#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"

namespace holdfast {

/// Takes a stream from front to back, in pieces of any size. One thread at a time.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  /// Takes all of `bytes` or fails; after an error the stream is over. May block: that is how
  /// back-pressure travels.
  virtual Status Write(const CallContext& call, ByteView bytes) = 0;
};

/// Collects the stream in memory; kResourceExhausted beyond `bytes_max`.
class BytesSink final : public ByteSink {
 public:
  explicit BytesSink(std::size_t bytes_max) : bytes_max_(bytes_max) {}
  Status Write(const CallContext& call, ByteView bytes) override;

  const Bytes& bytes() const noexcept { return bytes_; }
  Bytes Take() { return std::exchange(bytes_, {}); }

 private:
  const std::size_t bytes_max_;
  Bytes bytes_;
};

/// Calls a function for every piece.
class FunctionSink final : public ByteSink {
 public:
  using Function = std::function<Status(const CallContext&, ByteView)>;
  explicit FunctionSink(Function function) : function_(std::move(function)) {}
  Status Write(const CallContext& call, ByteView bytes) override { return function_(call, bytes); }

 private:
  Function function_;
};

}  // namespace holdfast
