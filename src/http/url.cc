#include "http/url.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace holdfast {
namespace {

constexpr std::string_view kHexDigits = "0123456789ABCDEF";

bool IsAlnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool IsUnreserved(char c) { return IsAlnum(c) || c == '-' || c == '.' || c == '_' || c == '~'; }

void AppendEncoded(std::string& to, char c) {
  const auto byte = static_cast<unsigned char>(c);
  to += '%';
  to += kHexDigits[byte >> 4];
  to += kHexDigits[byte & 15];
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::uint16_t DefaultPort(std::string_view scheme) { return scheme == "https" ? 443 : 80; }

/// What may be shown of an address that could not be read: nothing before an '@', no query.
std::string Showable(std::string_view text) {
  const std::size_t query = text.find_first_of("?#");
  std::string out(text.substr(0, query));
  const std::size_t at = out.rfind('@');
  const std::size_t slashes = out.find("//");
  if (at != std::string::npos) {
    const std::size_t begin = slashes != std::string::npos && slashes < at ? slashes + 2 : 0;
    out.replace(begin, at + 1 - begin, "***@");
  }
  if (query != std::string_view::npos) out += "?…";
  constexpr std::size_t kShownMax = 200;
  if (out.size() > kShownMax) out.resize(kShownMax);
  return out;
}

Error BadUrl(std::string_view text, std::string_view why,
             std::string hint = "write it as http://host:port or https://host:port") {
  return {ErrorCode::kInvalidArgument,
          "'" + Showable(text) + "' is not a usable address: " + std::string(why), std::move(hint)};
}

bool IsHostName(std::string_view host) {
  return !host.empty() && std::ranges::all_of(host, [](char c) {
    return IsAlnum(c) || c == '-' || c == '.' || c == '_';
  });
}

bool IsBracketedIpv6(std::string_view host) {
  return host.size() > 4 && host.front() == '[' && host.back() == ']' &&
         std::ranges::all_of(host.substr(1, host.size() - 2),
                             [](char c) { return HexValue(c) >= 0 || c == ':' || c == '.'; });
}

/// The characters that RFC 3986 allows in a path; '%' must have been checked by decoding.
bool IsPath(std::string_view path) {
  constexpr std::string_view kAlso = "/%!$&'()*+,;=:@";
  return std::ranges::all_of(
      path, [&](char c) { return IsUnreserved(c) || kAlso.find(c) != std::string_view::npos; });
}

Result<Url::Query> ParseQuery(std::string_view text) {
  Url::Query query;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('&'), text.size());
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    HF_TRY(std::string name, PercentDecode(pair.substr(0, equals)));
    HF_TRY(std::string value, PercentDecode(pair.substr(std::min(equals + 1, pair.size()))));
    query.emplace_back(std::move(name), std::move(value));
  }
  return query;
}

bool SuggestsSecret(std::string_view name) {
  constexpr std::array<std::string_view, 6> kWords = {"sig",    "credential", "token",
                                                      "secret", "key",        "pass"};
  const std::string lower = Lower(name);
  return std::ranges::any_of(
      kWords, [&](std::string_view word) { return lower.find(word) != std::string::npos; });
}

}  // namespace

std::string PercentEncode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (IsUnreserved(c)) {
      out += c;
    } else {
      AppendEncoded(out, c);
    }
  }
  return out;
}

std::string PercentEncodePath(std::string_view path) {
  std::string out;
  out.reserve(path.size());
  for (const char c : path) {
    if (IsUnreserved(c) || c == '/') {
      out += c;
    } else {
      AppendEncoded(out, c);
    }
  }
  return out;
}

Result<std::string> PercentDecode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 1 < text.size() ? HexValue(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? HexValue(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      return Error(ErrorCode::kInvalidArgument, "a '%' is not followed by two hexadecimal digits");
    }
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

Result<Url> Url::Parse(std::string_view text) {
  Url url;
  const std::size_t scheme_end = text.find("://");
  if (scheme_end == std::string_view::npos) return BadUrl(text, "it has no scheme");
  url.scheme_ = Lower(text.substr(0, scheme_end));
  if (url.scheme_ != "http" && url.scheme_ != "https") {
    return BadUrl(text, "the scheme must be http or https");
  }
  std::string_view rest = text.substr(scheme_end + 3);
  if (rest.find('#') != std::string_view::npos) return BadUrl(text, "it has a fragment");

  const std::size_t authority_end = std::min(rest.find_first_of("/?"), rest.size());
  std::string_view authority = rest.substr(0, authority_end);
  rest.remove_prefix(authority_end);
  if (authority.find('@') != std::string_view::npos) {
    return BadUrl(text, "it has a user or password in it",
                  "put the key into a file of its own and name that file in the configuration");
  }
  // An IPv6 address has colons of its own; the port's one stands behind the bracket.
  const std::size_t bracket = authority.rfind(']');
  const std::size_t colon =
      authority.find(':', bracket == std::string_view::npos ? 0 : bracket + 1);
  url.host_ = Lower(authority.substr(0, colon));
  if (!IsHostName(url.host_) && !IsBracketedIpv6(url.host_)) {
    return BadUrl(text, "the host name is missing or has characters that no host name has");
  }
  url.port_ = DefaultPort(url.scheme_);
  if (colon != std::string_view::npos) {
    const std::string_view port = authority.substr(colon + 1);
    const auto [end, code] = std::from_chars(port.data(), port.data() + port.size(), url.port_);
    if (code != std::errc() || end != port.data() + port.size() || url.port_ == 0) {
      return BadUrl(text, "the port is not a number from 1 to 65535");
    }
  }

  const std::size_t query_begin = std::min(rest.find('?'), rest.size());
  const std::string_view path = rest.substr(0, query_begin);
  if (!PercentDecode(path).ok() || !IsPath(path)) {
    return BadUrl(text, "the path has characters that must be percent-encoded");
  }
  url.path_ = path.empty() ? "/" : std::string(path);
  if (query_begin < rest.size()) {
    auto query = ParseQuery(rest.substr(query_begin + 1));
    if (!query.ok()) return BadUrl(text, query.error().message());
    url.query_ = *std::move(query);
  }
  return url;
}

std::string Url::Authority() const {
  return port_ == DefaultPort(scheme_) ? host_ : host_ + ":" + std::to_string(port_);
}

std::string Url::Origin() const { return scheme_ + "://" + host_ + ":" + std::to_string(port_); }

Url Url::operator/(std::string_view segment) const {
  Url url = *this;
  if (url.path_.back() != '/') url.path_ += '/';
  url.path_ += PercentEncode(segment);
  return url;
}

Url Url::WithPath(std::string path) const {
  HF_ASSERT(!path.empty() && path.front() == '/');
  Url url = *this;
  url.path_ = std::move(path);
  return url;
}

Url Url::With(std::string_view name, std::string_view value) const {
  Url url = *this;
  url.query_.emplace_back(name, value);
  return url;
}

Url Url::WithHost(std::string_view host) const {
  Url url = *this;
  url.host_ = Lower(host);
  return url;
}

std::string Url::ToString() const {
  std::string out = scheme_ + "://" + Authority() + path_;
  char before = '?';
  for (const auto& [name, value] : query_) {
    out += before + PercentEncode(name) + "=" + PercentEncode(value);
    before = '&';
  }
  return out;
}

std::string Url::Redacted() const {
  std::string out = scheme_ + "://" + Authority() + path_;
  char before = '?';
  for (const auto& [name, value] : query_) {
    const bool hide = SuggestsSecret(name);
    out += before + PercentEncode(name) + "=" + (hide ? std::string("***") : PercentEncode(value));
    before = '&';
  }
  return out;
}

}  // namespace holdfast
