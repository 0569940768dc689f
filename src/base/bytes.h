// Raw bytes, owned and viewed, and their text forms.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace holdfast {

using Bytes = std::vector<std::byte>;
/// A view never outlives the call it is passed to, unless the callee's contract says so.
using ByteView = std::span<const std::byte>;

inline ByteView AsBytes(std::string_view text) noexcept { return std::as_bytes(std::span(text)); }
inline std::string_view AsText(ByteView bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes ToBytes(ByteView view) { return {view.begin(), view.end()}; }
inline void Append(Bytes& to, ByteView what) { to.insert(to.end(), what.begin(), what.end()); }

/// Lower-case hexadecimal, two characters a byte.
std::string ToHex(ByteView bytes);
/// kInvalidArgument unless `hex` is an even number of hexadecimal digits (either case).
Result<Bytes> FromHex(std::string_view hex);

/// Standard base64 (RFC 4648 section 4) with padding.
std::string ToBase64(ByteView bytes);
/// kInvalidArgument for anything but canonical padded base64.
Result<Bytes> FromBase64(std::string_view text);

/// Little-endian fixed-width integers: the byte order of every binary format of the repository.
void AppendU16(Bytes& to, std::uint16_t value);
void AppendU32(Bytes& to, std::uint32_t value);
void AppendU64(Bytes& to, std::uint64_t value);

/// Reads values off the front of a view. Every read past the end fails with kDataLoss naming
/// `what` (given at construction); nothing is read out of bounds. Not thread-safe.
class ByteReader {
 public:
  ByteReader(ByteView bytes, std::string_view what) : rest_(bytes), what_(what) {}

  Result<std::uint8_t> U8();
  Result<std::uint16_t> U16();
  Result<std::uint32_t> U32();
  Result<std::uint64_t> U64();
  /// The next `size` bytes, as a view into the original.
  Result<ByteView> Take(std::size_t size);
  std::size_t left() const noexcept { return rest_.size(); }

 private:
  ByteView rest_;
  std::string what_;
};

}  // namespace holdfast
