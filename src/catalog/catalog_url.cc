#include "catalog/catalog_url.h"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>

#include "base/bytes.h"

namespace holdfast::sql {
namespace {

constexpr std::string_view kSqlite = "sqlite://";
constexpr std::string_view kMysql = "mysql://";
constexpr const char* kExample =
    "Write \"sqlite:///var/lib/holdfast/catalog.db\" or \"mysql://user@host:4000/database\".";

Error Wrong(std::string_view why) {
  return {ErrorCode::kConfiguration, fmt::format("[catalog] url: {}", why), kExample};
}

Result<std::string> Decode(std::string_view text, std::string_view what) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    auto byte = FromHex(text.substr(i + 1, 2));
    if (!byte.ok() || byte->size() != 1 || (*byte)[0] == std::byte{0}) {
      return Wrong(fmt::format("bad percent-encoding in the {}", what));
    }
    out += static_cast<char>((*byte)[0]);
    i += 2;
  }
  return out;
}

Result<Address> ParseMysql(std::string_view rest) {
  // The last @ ends the user: one inside it is encoded. What stands before is never shown, because
  // a password may be there.
  const std::size_t at = rest.rfind('@');
  if (at == std::string_view::npos || at == 0) return Wrong("it names no user before the host");
  const std::string_view user = rest.substr(0, at);
  if (user.find(':') != std::string_view::npos) {
    return Error(ErrorCode::kConfiguration, "[catalog] url: a password does not belong there",
                 "Put it into a file of its own and name that: [catalog] password_file.");
  }
  rest.remove_prefix(at + 1);
  const std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos || slash + 1 == rest.size()) {
    return Wrong("it names no database after the host");
  }
  std::string_view host = rest.substr(0, slash);
  const std::string_view database = rest.substr(slash + 1);
  if (database.find_first_of("/?#") != std::string_view::npos) {
    return Wrong("nothing may follow the name of the database");
  }
  MysqlAddress address;
  std::string_view port;
  if (host.starts_with('[')) {
    const std::size_t close = host.find(']');
    if (close == std::string_view::npos) return Wrong("an IPv6 address needs [ and ]");
    port = host.substr(close + 1);
    host = host.substr(1, close - 1);
  } else if (const std::size_t colon = host.find(':'); colon != std::string_view::npos) {
    port = host.substr(colon);
    host = host.substr(0, colon);
  }
  if (host.empty()) return Wrong("it names no host");
  if (!port.empty()) {
    const char* end = port.data() + port.size();
    unsigned number = 0;
    const auto [stop, failed] = std::from_chars(port.data() + 1, end, number);
    if (port[0] != ':' || failed != std::errc() || stop != end || number == 0 || number > 65535) {
      return Wrong("the port is no number from 1 to 65535");
    }
    address.port = static_cast<std::uint16_t>(number);
  }
  address.host = host;
  HF_TRY(address.user, Decode(user, "user"));
  HF_TRY(address.database, Decode(database, "database"));
  return Address(std::move(address));
}

}  // namespace

Result<Address> ParseAddress(std::string_view url) {
  if (url.starts_with(kMysql)) return ParseMysql(url.substr(kMysql.size()));
  if (!url.starts_with(kSqlite)) return Wrong("it begins with neither sqlite:// nor mysql://");
  HF_TRY(const std::string text, Decode(url.substr(kSqlite.size()), "path"));
  const std::filesystem::path path(text);
  if (!path.is_absolute() || !path.has_filename()) {
    return Wrong(fmt::format("\"{}\" is no absolute path of a file", text));
  }
  return Address(SqliteAddress{path.lexically_normal().string()});
}

}  // namespace holdfast::sql
