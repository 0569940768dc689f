#include "apps/holdfast/text_file.h"

#include <cerrno>
#include <fstream>
#include <system_error>

#include "base/size.h"

namespace holdfast {

Result<std::string> ReadTextFile(const std::string& path, const std::string& what,
                                 const std::string& hint, std::uint64_t bytes_max) {
  const std::string name = what + " '" + path + "'";
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return Error(ErrorCode::kInvalidArgument,
                 name + " cannot be read: " + std::generic_category().message(errno), hint);
  }
  std::string text;
  std::string buffer(64 * kKiB, '\0');
  while (file.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) ||
         file.gcount() > 0) {
    text.append(buffer, 0, static_cast<std::size_t>(file.gcount()));
    if (text.size() > bytes_max) {
      return Error(ErrorCode::kInvalidArgument, name + " is larger than " + FormatSize(bytes_max));
    }
  }
  if (file.bad()) return Error(ErrorCode::kInvalidArgument, name + " cannot be read", hint);
  return text;
}

}  // namespace holdfast
