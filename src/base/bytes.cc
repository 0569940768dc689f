#include "base/bytes.h"

#include <algorithm>
#include <array>

namespace holdfast {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kBase64Digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

template <class T>
void AppendLittleEndian(Bytes& to, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    to.push_back(static_cast<std::byte>((value >> (8 * i)) & 0xff));
  }
}

template <class T>
T LoadLittleEndian(ByteView bytes) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value | (static_cast<T>(bytes[i]) << (8 * i)));
  }
  return value;
}

}  // namespace

std::string ToHex(ByteView bytes) {
  std::string hex;
  hex.reserve(bytes.size() * 2);
  for (std::byte b : bytes) {
    hex += kHexDigits[std::to_integer<std::size_t>(b >> 4)];
    hex += kHexDigits[std::to_integer<std::size_t>(b & std::byte{15})];
  }
  return hex;
}

Result<Bytes> FromHex(std::string_view hex) {
  if (hex.size() % 2 != 0) {
    return Error(ErrorCode::kInvalidArgument, "hexadecimal text has an odd number of digits");
  }
  Bytes bytes;
  bytes.reserve(hex.size() / 2);
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    const int high = HexValue(hex[i]);
    const int low = HexValue(hex[i + 1]);
    if (high < 0 || low < 0) {
      return Error(ErrorCode::kInvalidArgument, "not hexadecimal text");
    }
    bytes.push_back(static_cast<std::byte>(high * 16 + low));
  }
  return bytes;
}

std::string ToBase64(ByteView bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (k < count ? std::to_integer<std::uint32_t>(bytes[i + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      text += k <= count ? kBase64Digits[group >> (18 - 6 * k) & 63] : '=';
    }
  }
  return text;
}

Result<Bytes> FromBase64(std::string_view text) {
  const Error bad(ErrorCode::kInvalidArgument, "not base64 text");
  if (text.size() % 4 != 0) return bad;
  Bytes bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const bool last = i + 4 == text.size();
    const std::size_t padding = !last ? 0 : text[i + 3] != '=' ? 0 : text[i + 2] != '=' ? 1 : 2;
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const std::size_t digit = k < 4 - padding ? kBase64Digits.find(text[i + k]) : 0;
      if (digit == std::string_view::npos) return bad;
      group = group << 6 | static_cast<std::uint32_t>(digit);
    }
    const std::uint32_t unused = padding == 0 ? 0 : padding == 1 ? group & 0xff : group & 0xffff;
    if (unused != 0) return bad;
    for (std::size_t k = 0; k < 3 - padding; ++k) {
      bytes.push_back(static_cast<std::byte>(group >> (16 - 8 * k) & 0xff));
    }
  }
  return bytes;
}

void AppendU16(Bytes& to, std::uint16_t value) { AppendLittleEndian(to, value); }
void AppendU32(Bytes& to, std::uint32_t value) { AppendLittleEndian(to, value); }
void AppendU64(Bytes& to, std::uint64_t value) { AppendLittleEndian(to, value); }

Result<ByteView> ByteReader::Take(std::size_t size) {
  if (size > rest_.size()) return Error(ErrorCode::kDataLoss, what_ + " ends too early");
  const ByteView taken = rest_.first(size);
  rest_ = rest_.subspan(size);
  return taken;
}

Result<std::uint8_t> ByteReader::U8() {
  HF_TRY(const ByteView bytes, Take(1));
  return LoadLittleEndian<std::uint8_t>(bytes);
}
Result<std::uint16_t> ByteReader::U16() {
  HF_TRY(const ByteView bytes, Take(2));
  return LoadLittleEndian<std::uint16_t>(bytes);
}
Result<std::uint32_t> ByteReader::U32() {
  HF_TRY(const ByteView bytes, Take(4));
  return LoadLittleEndian<std::uint32_t>(bytes);
}
Result<std::uint64_t> ByteReader::U64() {
  HF_TRY(const ByteView bytes, Take(8));
  return LoadLittleEndian<std::uint64_t>(bytes);
}

}  // namespace holdfast
