// Addresses of HTTP servers: parsed once, built from parts, printed without secrets.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace holdfast {

/// Percent-encodes everything but RFC 3986's unreserved characters (letters, digits, - . _ ~).
/// For one path segment, a query name or a query value: '/' is encoded too.
std::string PercentEncode(std::string_view text);
/// As PercentEncode, but keeps '/': for a path of several segments.
std::string PercentEncodePath(std::string_view path);
/// kInvalidArgument when a '%' is not followed by two hexadecimal digits. '+' stays '+'.
Result<std::string> PercentDecode(std::string_view text);

/// An absolute http or https address. A plain value.
class Url {
 public:
  using Query = std::vector<std::pair<std::string, std::string>>;

  /// Reads "http://host:6333/path?name=value". Host names, IPv4 and [IPv6] addresses. An empty path
  /// becomes "/". kInvalidArgument otherwise, and when there is user info ("user:password@": keys
  /// belong into a key file) or a fragment; the message never repeats user info or query values.
  static Result<Url> Parse(std::string_view text);

  /// "http" or "https".
  const std::string& scheme() const noexcept { return scheme_; }
  /// In lower case, an IPv6 address in brackets.
  const std::string& host() const noexcept { return host_; }
  /// The one given, else 80 or 443.
  std::uint16_t port() const noexcept { return port_; }
  /// Percent-encoded, begins with '/'.
  const std::string& path() const noexcept { return path_; }
  /// Decoded names and values in the order given.
  const Query& query() const noexcept { return query_; }

  /// "host", or "host:port" where the port is not the scheme's own: the value of a Host header.
  std::string Authority() const;
  /// "http://host:port": scheme, host and port always.
  std::string Origin() const;

  /// This address with `segment`, percent-encoded, as one more step of the path.
  Url operator/(std::string_view segment) const;
  /// This address with `path` instead of its own; `path` begins with '/' and is encoded already.
  Url WithPath(std::string path) const;
  /// This address with one more query parameter (not encoded yet).
  Url With(std::string_view name, std::string_view value) const;
  /// This address under another host name, same scheme, port, path and query.
  Url WithHost(std::string_view host) const;

  /// The whole address as sent. May carry secrets in the query: never for messages.
  std::string ToString() const;
  /// For messages: values of query parameters whose names suggest a secret (signature, credential,
  /// token, key, password) are replaced by "***".
  std::string Redacted() const;

  friend bool operator==(const Url&, const Url&) = default;

 private:
  std::string scheme_ = "http";
  std::string host_;
  std::uint16_t port_ = 80;
  std::string path_ = "/";
  Query query_;
};

}  // namespace holdfast
