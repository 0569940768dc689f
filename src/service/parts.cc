#include "service/parts.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "engine/qdrant/qdrant_engine.h"
#include "store/directory_store.h"
#include "store/read_only_store.h"
#include "store/retrying_store.h"
#include "store/s3_credentials.h"
#include "store/s3_store.h"

namespace holdfast {
namespace {

constexpr std::string_view kFileScheme = "file://";
constexpr std::string_view kS3Scheme = "s3://";

/// A minute or two, for a store that is being restarted or says that it is too busy.
constexpr RetryPolicy kPatient{.attempts_max = 12};

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nothing writes it.
  return value == nullptr ? std::string() : std::string(value);
}

Result<std::shared_ptr<S3CredentialsSource>> CredentialsOf(const RepositoryConfig& repository) {
  if (repository.credentials_file.empty()) return S3CredentialsFromEnvironment();
  return S3CredentialsFromFile(repository.credentials_file, repository.credentials_profile.empty()
                                                                ? "default"
                                                                : repository.credentials_profile);
}

Status OpenS3(const RepositoryConfig& repository, Clock& clock, OpenedStore& opened) {
  const std::string rest = repository.url.substr(kS3Scheme.size());
  const std::size_t slash = rest.find('/');
  S3Options options;
  options.bucket = rest.substr(0, slash);
  if (slash != std::string::npos) options.prefix = rest.substr(slash + 1);
  if (!options.prefix.empty() && options.prefix.back() != '/') options.prefix += '/';
  if (!repository.region.empty()) options.region = repository.region;
  options.virtual_host = repository.virtual_host;
  const std::string endpoint = repository.endpoint.empty()
                                   ? "https://s3." + options.region + ".amazonaws.com"
                                   : repository.endpoint;
  HF_TRY(options.endpoint, Url::Parse(endpoint));
  HF_TRY(auto credentials, CredentialsOf(repository));
  HttpClientOptions http;
  http.tls.ca_file = repository.ca_file;
  http.tls.insecure = repository.insecure;
  http.proxy_from_environment = true;
  HF_TRY(opened.http, HttpClient::Create(clock, std::move(http)));
  HF_TRY(opened.driver,
         S3Store::Create(*opened.http, clock, std::move(options), std::move(credentials)));
  return {};
}

}  // namespace

Result<Secret> ReadSecretFile(const std::string& path) {
  std::error_code ignored;
  errno = std::filesystem::is_directory(path, ignored) ? EISDIR : 0;
  std::ifstream file;
  if (errno == 0) file.open(path);
  if (!file.is_open()) {
    return Error(ErrorCode::kConfiguration,
                 "cannot read the secret in " + path + ": " + std::strerror(errno),
                 "the first line of the file is the secret");
  }
  std::string line;
  std::getline(file, line);
  if (!line.empty() && line.back() == '\r') line.pop_back();
  if (line.empty()) {
    return Error(ErrorCode::kConfiguration, "the secret file " + path + " is empty",
                 "the first line of the file is the secret");
  }
  Secret secret = Secret::FromText(line);
  explicit_bzero(line.data(), line.size());
  return secret;
}

std::string WhoElseReads(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0 || (status.st_mode & 0077) == 0) return {};
  return path + " can be read by others than its owner; chmod 600 " + path;
}

Result<OpenedStore> OpenStore(const RepositoryConfig& repository, Clock& clock, Random& random,
                              bool create) {
  OpenedStore opened;
  if (repository.url.starts_with(kFileScheme)) {
    HF_TRY(opened.driver, DirectoryStore::Open(clock, repository.url.substr(kFileScheme.size()),
                                               {.create = create, .fault = {}}));
  } else if (repository.url.starts_with(kS3Scheme)) {
    HF_RETURN_IF_ERROR(OpenS3(repository, clock, opened));
  } else {
    return Error(ErrorCode::kConfiguration,
                 "[repository." + repository.name + "] url '" + repository.url +
                     "' is neither file:// nor s3://",
                 "url = \"file:///srv/backups\" or \"s3://bucket/prefix\"");
  }
  if (repository.read_only) opened.read_only = std::make_unique<ReadOnlyStore>(*opened.driver);
  opened.store = std::make_unique<RetryingStore>(
      opened.read_only ? *opened.read_only : *opened.driver,
      Retrier{.clock = clock, .random = random, .policy = {}}, kPatient);
  return opened;
}

Result<std::unique_ptr<Repository>> OpenRepository(const CallContext& call,
                                                   const RepositoryConfig& config,
                                                   ObjectStore& store) {
  OpenOptions options;
  options.read_only = config.read_only;
  if (config.encryption == "password") {
    options.sealing = Sealing::kAes256Gcm;
    HF_TRY(options.password, ReadSecretFile(config.password_file));
  } else {
    options.sealing = Sealing::kNone;
  }
  return Repository::Open(call, store, options);
}

Result<std::unique_ptr<Catalog>> OpenConfiguredCatalog(const CallContext& call,
                                                       const CatalogConfig& config, Clock& clock,
                                                       Random& random) {
  CatalogOptions options;
  options.url = config.url;
  options.ca_file = config.ca_file;
  if (options.url.empty()) {
    if (FromEnvironment("XDG_STATE_HOME").empty() && FromEnvironment("HOME").empty()) {
      return Error(ErrorCode::kConfiguration,
                   "no place for the catalog is configured, and HOME is not set",
                   "[catalog] url = \"sqlite:///var/lib/holdfast/catalog.db\"");
    }
    const std::string state = FromEnvironment("XDG_STATE_HOME").empty()
                                  ? FromEnvironment("HOME") + "/.local/state"
                                  : FromEnvironment("XDG_STATE_HOME");
    options.url = "sqlite://" + state + "/holdfast/catalog.db";
  }
  if (!config.password_file.empty()) {
    HF_TRY(options.password, ReadSecretFile(config.password_file));
  }
  auto opened = OpenCatalog(call, std::move(options), clock, random);
  // A damaged catalog is no damage to what is backed up, which is what data loss would say.
  if (!opened.ok() && opened.error().code() == ErrorCode::kDataLoss) {
    return std::move(opened).error().As(ErrorCode::kFailedPrecondition);
  }
  return opened;
}

Result<std::unique_ptr<Engine>> OpenEngine(const CallContext& call, const ClusterConfig& config,
                                           Clock& clock) {
  QdrantOptions options;
  options.name = config.name;
  options.urls = config.urls;
  options.ca_file = config.ca_file;
  options.insecure = config.insecure;
  if (!config.read_key_file.empty()) {
    HF_TRY(options.read_key, ReadSecretFile(config.read_key_file));
  }
  if (!config.key_file.empty()) {
    HF_TRY(options.key, ReadSecretFile(config.key_file));
  }
  if (!config.manage_key_file.empty()) {
    HF_TRY(options.manage_key, ReadSecretFile(config.manage_key_file));
  }
  return OpenQdrant(call, std::move(options), clock);
}

std::vector<std::string> EngineEnvironment(const Environment& all) {
  std::vector<std::string> passed_on;
  for (const char* const name : {"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR",
                                 "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH"}) {
    const auto found = all.find(name);
    if (found != all.end()) passed_on.push_back(found->first + "=" + found->second);
  }
  return passed_on;
}

std::string DefaultSpoolDirectory() {
  std::error_code failed;
  const std::filesystem::path folder = std::filesystem::temp_directory_path(failed);
  return failed ? "/tmp" : folder.string();
}

}  // namespace holdfast
