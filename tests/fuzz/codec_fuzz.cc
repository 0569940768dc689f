// Any bytes through the codec, as a block to code and as a coded block.

#include <algorithm>
#include <cstdint>

#include "base/assert.h"
#include "stream/codec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  static Codec codec;
  if (size < 4) return 0;
  const ByteView bytes = std::as_bytes(std::span(data, size)).subspan(4);

  Bytes coded;
  const CodecId id = codec.Encode(bytes, coded);
  HF_ASSERT(coded.size() <= bytes.size());
  Bytes back;
  HF_ASSERT(codec.Decode(static_cast<std::uint8_t>(id), coded, bytes.size(), back).ok());
  HF_ASSERT(std::equal(back.begin(), back.end(), bytes.begin(), bytes.end()));

  const std::size_t claimed = data[1] | std::size_t{data[2]} << 8 | std::size_t{data[3]} << 16;
  Bytes out;
  const Status status = codec.Decode(data[0] % 4, bytes, claimed, out);
  HF_ASSERT(out.size() == (status.ok() ? claimed : 0));
  return 0;
}
