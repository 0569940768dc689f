#include "store/s3_credentials.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/size.h"

namespace holdfast {
namespace {

constexpr std::uint64_t kCredentialsFileMax = 1 * kMiB;

class StaticSource final : public S3CredentialsSource {
 public:
  explicit StaticSource(S3Credentials credentials)
      : credentials_(std::make_shared<S3Credentials>(std::move(credentials))) {}
  Result<std::shared_ptr<const S3Credentials>> Get() override { return credentials_; }

 private:
  const std::shared_ptr<const S3Credentials> credentials_;
};

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r";
  const std::size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

/// The values of one profile; absent keys are empty.
struct Profile {
  bool found = false;
  S3Credentials credentials;
};

Profile ReadProfile(std::string_view text, std::string_view wanted) {
  Profile profile;
  bool inside = false;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = Trimmed(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty() || line.front() == '#' || line.front() == ';') continue;
    if (line.front() == '[') {
      inside = line.back() == ']' && Trimmed(line.substr(1, line.size() - 2)) == wanted;
      profile.found |= inside;
      continue;
    }
    const std::size_t equals = line.find('=');
    if (!inside || equals == std::string_view::npos) continue;
    const std::string_view name = Trimmed(line.substr(0, equals));
    const std::string_view value = Trimmed(line.substr(equals + 1));
    if (name == "aws_access_key_id") profile.credentials.access_key = value;
    if (name == "aws_secret_access_key") profile.credentials.secret_key = Secret::FromText(value);
    if (name == "aws_session_token") profile.credentials.session_token = Secret::FromText(value);
  }
  return profile;
}

class FileSource final : public S3CredentialsSource {
 public:
  FileSource(std::string path, std::string profile)
      : path_(std::move(path)), profile_(std::move(profile)) {}

  Result<std::shared_ptr<const S3Credentials>> Get() override {
    const std::scoped_lock lock(mutex_);
    struct stat status{};
    if (stat(path_.c_str(), &status) != 0) return Unreadable(errno);
    const Version version{.inode = status.st_ino,
                          .size = status.st_size,
                          .seconds = status.st_mtim.tv_sec,
                          .nanoseconds = status.st_mtim.tv_nsec};
    if (credentials_ != nullptr && version == version_) return credentials_;
    HF_TRY(credentials_, Read());
    version_ = version;
    return credentials_;
  }

 private:
  struct Version {
    ino_t inode = 0;
    off_t size = 0;
    std::time_t seconds = 0;
    long nanoseconds = 0;
    friend bool operator==(const Version&, const Version&) = default;
  };

  Error Unreadable(int error_number) const {
    return {ErrorCode::kConfiguration,
            "cannot read credentials file '" + path_ + "': " + std::strerror(error_number)};
  }

  Result<std::shared_ptr<const S3Credentials>> Read() const {
    const int fd = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return Unreadable(errno);
    Bytes bytes(kCredentialsFileMax + 1);
    std::size_t size = 0;
    ssize_t got = 0;
    while (size < bytes.size() && (got = read(fd, bytes.data() + size, bytes.size() - size)) > 0) {
      size += static_cast<std::size_t>(got);
    }
    const int error_number = errno;
    close(fd);
    const Secret text(std::move(bytes));  // Wiped when we are done.
    if (got < 0) return Unreadable(error_number);
    if (size > kCredentialsFileMax) return Unreadable(EFBIG);

    Profile profile = ReadProfile(AsText(text.Reveal().first(size)), profile_);
    const std::string where = "credentials file '" + path_ + "'";
    if (!profile.found) {
      return Error(ErrorCode::kConfiguration, where + " has no section [" + profile_ + "]");
    }
    for (const auto& [missing, name] :
         {std::pair(profile.credentials.access_key.empty(), "aws_access_key_id"),
          std::pair(profile.credentials.secret_key.empty(), "aws_secret_access_key")}) {
      if (missing) {
        return Error(ErrorCode::kConfiguration,
                     where + " has no " + name + " in section [" + profile_ + "]");
      }
    }
    return std::shared_ptr<const S3Credentials>(
        std::make_shared<S3Credentials>(std::move(profile.credentials)));
  }

  const std::string path_;
  const std::string profile_;
  std::mutex mutex_;
  Version version_;
  std::shared_ptr<const S3Credentials> credentials_;
};

std::string_view Environment(const char* name) {
  // tidy: allow(getenv) the variables that every S3 client knows are this file's contract.
  const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): see the header.
  return value != nullptr ? value : "";
}

}  // namespace

std::shared_ptr<S3CredentialsSource> StaticS3Credentials(S3Credentials credentials) {
  return std::make_shared<StaticSource>(std::move(credentials));
}

Result<std::shared_ptr<S3CredentialsSource>> S3CredentialsFromEnvironment() {
  for (const char* name : {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}) {
    if (Environment(name).empty()) {
      return Error(ErrorCode::kConfiguration,
                   std::string("environment variable ") + name + " is not set",
                   "set it, or name a credentials file in the configuration");
    }
  }
  return StaticS3Credentials({.access_key = std::string(Environment("AWS_ACCESS_KEY_ID")),
                              .secret_key = Secret::FromText(Environment("AWS_SECRET_ACCESS_KEY")),
                              .session_token = Secret::FromText(Environment("AWS_SESSION_TOKEN"))});
}

Result<std::shared_ptr<S3CredentialsSource>> S3CredentialsFromFile(std::string path,
                                                                   std::string profile) {
  auto source = std::make_shared<FileSource>(std::move(path), std::move(profile));
  HF_TRY([[maybe_unused]] const auto first, source->Get());
  return std::shared_ptr<S3CredentialsSource>(std::move(source));
}

}  // namespace holdfast
