#include "http/message.h"

#include <algorithm>
#include <cstring>
#include <span>

namespace holdfast {
namespace {

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

class PartsSource final : public ByteSource {
 public:
  explicit PartsSource(std::vector<ByteView> parts) : parts_(std::move(parts)) {}

  Result<std::size_t> Read(const CallContext&, std::span<std::byte> into) override {
    std::size_t filled = 0;
    while (filled < into.size() && part_ < parts_.size()) {
      const ByteView rest = parts_[part_].subspan(offset_);
      const std::size_t size = std::min(rest.size(), into.size() - filled);
      if (size > 0) std::memcpy(into.data() + filled, rest.data(), size);
      filled += size;
      offset_ += size;
      if (offset_ == parts_[part_].size()) {
        ++part_;
        offset_ = 0;
      }
    }
    return filled;
  }

 private:
  const std::vector<ByteView> parts_;
  std::size_t part_ = 0;
  std::size_t offset_ = 0;
};

}  // namespace

std::string_view HttpMethodName(HttpMethod method) noexcept {
  switch (method) {
    case HttpMethod::kGet:
      return "GET";
    case HttpMethod::kHead:
      return "HEAD";
    case HttpMethod::kPut:
      return "PUT";
    case HttpMethod::kPost:
      return "POST";
    case HttpMethod::kPatch:
      return "PATCH";
    case HttpMethod::kDelete:
      return "DELETE";
  }
  return "?";
}

void HttpHeaders::Add(std::string_view name, std::string_view value) {
  std::string lower(name);
  std::ranges::transform(lower, lower.begin(), Lower);
  fields_.emplace_back(std::move(lower), Trimmed(value));
}

std::optional<std::string_view> HttpHeaders::Find(std::string_view name) const {
  for (const auto& [field, value] : fields_) {
    if (std::ranges::equal(field, name, {}, {}, Lower)) return value;
  }
  return std::nullopt;
}

std::string HttpRequest::Describe() const {
  return std::string(HttpMethodName(method)) + " " + url.Redacted();
}

UploadBody BodyOf(std::vector<ByteView> parts) {
  std::uint64_t size = 0;
  for (const ByteView part : parts) size += part.size();
  return {.size = size,
          .open = [parts = std::move(parts)]() -> Result<std::unique_ptr<ByteSource>> {
            return std::unique_ptr<ByteSource>(std::make_unique<PartsSource>(parts));
          }};
}

}  // namespace holdfast
