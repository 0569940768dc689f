#include "stream/byte_source.h"

#include <algorithm>

#include "stream/byte_sink.h"

namespace holdfast {

Result<std::size_t> BytesSource::Read(const CallContext& /*call*/, std::span<std::byte> into) {
  const std::size_t count = std::min(into.size(), rest_.size());
  std::copy_n(rest_.begin(), count, into.begin());
  rest_ = rest_.subspan(count);
  return count;
}

Result<std::uint64_t> CopyAll(const CallContext& call, ByteSource& source, ByteSink& sink,
                              std::size_t buffer_bytes) {
  Bytes buffer(buffer_bytes);
  std::uint64_t copied = 0;
  while (true) {
    HF_TRY(const std::size_t count, source.Read(call, buffer));
    if (count == 0) return copied;
    HF_RETURN_IF_ERROR(sink.Write(call, ByteView(buffer).first(count)));
    copied += count;
  }
}

}  // namespace holdfast
