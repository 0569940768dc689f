#include "service/config.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <ranges>
#include <sstream>
#include <utility>

#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

#include "base/nearest.h"

extern char** environ;

namespace holdfast {
namespace {

/// Sets one key of a section from its TOML value.
using Setter = std::function<Status(const toml::node&)>;
using Keys = std::map<std::string, Setter>;

Status Mistyped(std::string_view want) {
  return Error(ErrorCode::kConfiguration, "must be " + std::string(want));
}

Setter Text(std::string& to) {
  return [&to](const toml::node& node) -> Status {
    const auto value = node.value_exact<std::string>();
    if (!value) return Mistyped("a text");
    to = *value;
    return {};
  };
}

Setter Flag(bool& to) {
  return [&to](const toml::node& node) -> Status {
    const auto value = node.value_exact<bool>();
    if (!value) return Mistyped("true or false");
    to = *value;
    return {};
  };
}

Setter Texts(std::vector<std::string>& to) {
  return [&to](const toml::node& node) -> Status {
    const toml::array* list = node.as_array();
    if (list == nullptr) return Mistyped("a list of texts");
    to.clear();
    for (const toml::node& item : *list) {
      const auto value = item.value_exact<std::string>();
      if (!value) return Mistyped("a list of texts");
      to.push_back(*value);
    }
    return {};
  };
}

Setter Count(std::uint32_t& to) {
  return [&to](const toml::node& node) -> Status {
    const auto value = node.value_exact<std::int64_t>();
    if (!value || *value < 1 || *value > 1'000'000) return Mistyped("a number from 1 to 1000000");
    to = static_cast<std::uint32_t>(*value);
    return {};
  };
}

Setter Size(std::uint64_t& to) {
  return [&to](const toml::node& node) -> Status {
    if (const auto number = node.value_exact<std::int64_t>(); number && *number >= 0) {
      to = static_cast<std::uint64_t>(*number);
      return {};
    }
    const auto text = node.value_exact<std::string>();
    if (!text) return Mistyped("a size such as \"8GiB\"");
    HF_TRY(to, ParseSize(*text));
    return {};
  };
}

Setter Time(Duration& to) {
  return [&to](const toml::node& node) -> Status {
    const auto text = node.value_exact<std::string>();
    if (!text) return Mistyped("a duration such as \"60s\"");
    HF_TRY(to, ParseDuration(*text));
    return {};
  };
}

Setter OptionalSize(std::optional<std::uint64_t>& to) {
  return [&to](const toml::node& node) -> Status { return Size(to.emplace())(node); };
}

Keys PeerKeys(PeerLimits& peer) {
  return {{"zone", Text(peer.zone)},
          {"disk_free", OptionalSize(peer.disk_free)},
          {"memory_free", OptionalSize(peer.memory_free)},
          {"draining", Flag(peer.draining)}};
}

Status ReadKeys(const toml::node& node, const std::string& where, const std::string& section,
                const Keys& keys);

/// Sections [cluster.NAME.peer."ID"].
Setter Peers(std::map<PeerId, PeerLimits>& to) {
  return [&to](const toml::node& node) -> Status {
    const toml::table* table = node.as_table();
    if (table == nullptr) return Mistyped("sections: [cluster.NAME.peer.\"ID\"]");
    for (const auto& [name, value] : *table) {
      std::uint64_t id = 0;
      const std::string_view text = name.str();
      const auto [end, failed] = std::from_chars(text.begin(), text.end(), id);
      if (failed != std::errc() || end != text.end()) {
        return Error(ErrorCode::kConfiguration,
                     "names '" + std::string(text) + "', which is no peer id",
                     "`holdfast topology` lists the ids");
      }
      HF_RETURN_IF_ERROR(
          ReadKeys(value, "", "\"" + std::string(text) + "\"", PeerKeys(to[PeerId(id)])));
    }
    return {};
  };
}

Keys ClusterKeys(ClusterConfig& cluster) {
  return {{"urls", Texts(cluster.urls)},
          {"read_key_file", Text(cluster.read_key_file)},
          {"key_file", Text(cluster.key_file)},
          {"manage_key_file", Text(cluster.manage_key_file)},
          {"ca_file", Text(cluster.ca_file)},
          {"insecure", Flag(cluster.insecure)},
          {"freeze", Text(cluster.freeze)},
          {"thaw", Text(cluster.thaw)},
          {"fence_limit", Time(cluster.fence_limit)},
          {"peer", Peers(cluster.peers)}};
}

Keys RepositoryKeys(RepositoryConfig& repository) {
  return {{"url", Text(repository.url)},
          {"encryption", Text(repository.encryption)},
          {"password_file", Text(repository.password_file)},
          {"endpoint", Text(repository.endpoint)},
          {"region", Text(repository.region)},
          {"virtual_host", Flag(repository.virtual_host)},
          {"credentials_file", Text(repository.credentials_file)},
          {"credentials_profile", Text(repository.credentials_profile)},
          {"ca_file", Text(repository.ca_file)},
          {"insecure", Flag(repository.insecure)},
          {"read_only", Flag(repository.read_only)}};
}

Keys BackupKeys(BackupConfig& backup) {
  return {{"spool_directory", Text(backup.spool_directory)},
          {"spool_bytes_max", Size(backup.spool_bytes_max)},
          {"streams_max", Count(backup.streams_max)},
          {"streams_per_peer_max", Count(backup.streams_per_peer_max)},
          {"upload_threads", Count(backup.upload_threads)}};
}

Keys RestoreKeys(RestoreConfig& restore) {
  return {{"first", Texts(restore.first)},
          {"scratch_directory", Text(restore.scratch_directory)},
          {"scratch_bytes_max", Size(restore.scratch_bytes_max)}};
}

/// The sections of which there is one each.
std::map<std::string, Keys> SingleSections(Config& config) {
  return {{"catalog",
           {{"url", Text(config.catalog.url)},
            {"password_file", Text(config.catalog.password_file)},
            {"ca_file", Text(config.catalog.ca_file)}}},
          {"backup", BackupKeys(config.backup)},
          {"restore", RestoreKeys(config.restore)},
          {"engine",
           {{"command", Texts(config.engine.command)},
            {"memory_bytes", Size(config.engine.memory_bytes)}}}};
}

template <class Named>
Error Unknown(const std::string& key, const std::string& where, const Named& known) {
  return Error(ErrorCode::kConfiguration, where + ": unknown key '" + key + "'",
               "did you mean '" + NearestOf(key, std::views::keys(known)) + "'?");
}

std::string At(const std::string& where, const toml::node& node) {
  const auto line = node.source().begin.line;
  return line == 0 ? where : where + ":" + std::to_string(line);
}

Status ReadKeys(const toml::node& node, const std::string& where, const std::string& section,
                const Keys& keys) {
  const toml::table* table = node.as_table();
  if (table == nullptr) {
    return Error(ErrorCode::kConfiguration, At(where, node) + ": " + section + " is not a section",
                 "sections are [cluster.NAME], [repository.NAME], [catalog], [backup], ...");
  }
  for (const auto& [name, value] : *table) {
    const std::string key(name.str());
    const auto setter = keys.find(key);
    const std::string place = At(where, value) + " " + section;
    if (setter == keys.end()) return Unknown(key, place, keys);
    if (Status set = setter->second(value); !set.ok()) {
      return Error(ErrorCode::kConfiguration, place + " " + key + " " + set.error().message(),
                   set.error().hint());
    }
  }
  return {};
}

template <class Section, class KeysOf>
Status ReadSections(const toml::node& node, const std::string& where, const std::string& kind,
                    std::map<std::string, Section>& sections, KeysOf keys_of) {
  const toml::table* table = node.as_table();
  if (table == nullptr) {
    return Error(ErrorCode::kConfiguration, At(where, node) + ": write [" + kind + ".NAME]");
  }
  for (const auto& [name, value] : *table) {
    Section& section = sections[std::string(name.str())];
    section.name = std::string(name.str());
    HF_RETURN_IF_ERROR(
        ReadKeys(value, where, "[" + kind + "." + section.name + "]", keys_of(section)));
  }
  return {};
}

std::string Lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

/// The value of an environment variable as TOML would have it for this key: tried as a text, then
/// as TOML itself (numbers, true, lists), then as a list with commas.
Status SetFromEnvironment(const Setter& set, const std::string& value) {
  const toml::value<std::string> text(value);
  if (set(text).ok()) return {};
  try {
    const toml::table parsed = toml::parse("v = " + value);
    if (set(*parsed.get("v")).ok()) return {};
  } catch (const toml::parse_error&) {
    // Not TOML: the list below says what is wrong with it if it is that neither.
  }
  toml::array list;
  std::stringstream parts(value);
  for (std::string part; std::getline(parts, part, ',');) list.push_back(part);
  return set(list);
}

/// Names of variables have no case here: the section of the file that is meant, or a new one.
template <class Section>
Section& Named(std::map<std::string, Section>& sections, const std::string& lower) {
  for (auto& [name, section] : sections) {
    if (Lower(name) == lower) return section;
  }
  sections[lower].name = lower;
  return sections[lower];
}

Status ReadEnvironment(const Environment& environment, Config& config) {
  constexpr std::string_view kPrefix = "HOLDFAST__";
  const std::map<std::string, Keys> single = SingleSections(config);
  for (const auto& [variable, value] : environment) {
    if (!variable.starts_with(kPrefix)) continue;
    std::vector<std::string> parts;
    std::string rest = Lower(variable.substr(kPrefix.size()));
    for (std::size_t at = 0; (at = rest.find("__")) != std::string::npos;) {
      parts.push_back(rest.substr(0, at));
      rest.erase(0, at + 2);
    }
    parts.push_back(rest);
    Keys keys;
    if (parts.size() == 3 && parts[0] == "cluster") {
      keys = ClusterKeys(Named(config.clusters, parts[1]));
    } else if (parts.size() == 3 && parts[0] == "repository") {
      keys = RepositoryKeys(Named(config.repositories, parts[1]));
    } else if (parts.size() == 2 && single.contains(parts[0])) {
      keys = single.at(parts[0]);
    } else {
      return Error(ErrorCode::kConfiguration, "environment variable " + variable + " names nothing",
                   "write HOLDFAST__CLUSTER__NAME__KEY, HOLDFAST__REPOSITORY__NAME__KEY, "
                   "or HOLDFAST__SECTION__KEY with CATALOG, BACKUP, RESTORE or ENGINE");
    }
    const auto setter = keys.find(parts.back());
    if (setter == keys.end()) {
      return Unknown(parts.back(), "environment variable " + variable, keys);
    }
    if (const Status set = SetFromEnvironment(setter->second, value); !set.ok()) {
      return Error(ErrorCode::kConfiguration,
                   "environment variable " + variable + " " + set.error().message());
    }
  }
  return {};
}

Status CheckComplete(const Config& config, const std::string& where) {
  for (const auto& [name, cluster] : config.clusters) {
    if (cluster.urls.empty()) {
      return Error(ErrorCode::kConfiguration, where + ": [cluster." + name + "] has no urls",
                   "urls = [\"http://10.0.0.1:6333\"]; any one peer is enough");
    }
    if (cluster.freeze.empty() != cluster.thaw.empty()) {
      return Error(ErrorCode::kConfiguration,
                   where + ": [cluster." + name + "] needs both freeze and thaw, or neither");
    }
  }
  for (const auto& [name, repository] : config.repositories) {
    const std::string section = where + ": [repository." + name + "]";
    if (repository.url.empty()) {
      return Error(ErrorCode::kConfiguration, section + " has no url",
                   "url = \"file:///srv/backups\" or \"s3://bucket/prefix\"");
    }
    if (repository.encryption != "password" && repository.encryption != "none") {
      return Error(ErrorCode::kConfiguration,
                   section + " must say encryption = \"password\" or \"none\"");
    }
    if (repository.encryption == "password" && repository.password_file.empty()) {
      return Error(ErrorCode::kConfiguration, section + " has no password_file",
                   "without the password nobody can restore: keep a copy of the file elsewhere");
    }
  }
  return {};
}

/// File names in the configuration are relative to its own folder.
void Anchor(Config& config) {
  const std::filesystem::path folder = std::filesystem::path(config.path).parent_path();
  const auto anchor = [&](std::string& name) {
    if (name.empty() || config.path.empty() || name.front() == '/') return;
    name = (folder / name).lexically_normal().string();
  };
  for (auto& [name, cluster] : config.clusters) {
    for (std::string* file :
         {&cluster.read_key_file, &cluster.key_file, &cluster.manage_key_file, &cluster.ca_file}) {
      anchor(*file);
    }
  }
  for (auto& [name, repository] : config.repositories) {
    for (std::string* file :
         {&repository.password_file, &repository.credentials_file, &repository.ca_file}) {
      anchor(*file);
    }
  }
  anchor(config.catalog.password_file);
  anchor(config.catalog.ca_file);
  std::vector<std::string>& command = config.engine.command;
  if (!command.empty() && command.front().find('/') != std::string::npos) anchor(command.front());
}

template <class Section>
Result<Section> Choose(const std::map<std::string, Section>& sections, const std::string& name,
                       const std::string& kind, const std::string& path) {
  std::string there;
  for (const auto& [key, section] : sections) there += (there.empty() ? "" : ", ") + key;
  if (!name.empty()) {
    const auto found = sections.find(name);
    if (found != sections.end()) return found->second;
    return Error(
        ErrorCode::kConfiguration, "there is no " + kind + " '" + name + "'",
        there.empty() ? "add [" + kind + "." + name + "] to holdfast.toml" : "there are: " + there);
  }
  if (sections.size() == 1) return sections.begin()->second;
  if (sections.empty()) {
    return Error(ErrorCode::kConfiguration,
                 "no " + kind + " is configured" +
                     (path.empty() ? ", as there is no holdfast.toml" : " in " + path),
                 "add [" + kind + ".NAME]; the README shows a complete file");
  }
  return Error(ErrorCode::kConfiguration, "there are several: " + there,
               "choose one with --" + kind);
}

}  // namespace

Result<Config> ParseConfig(std::string_view text, const std::string& where,
                           const Environment& environment) {
  Config config;
  toml::table document;
  try {
    document = toml::parse(text);
  } catch (const toml::parse_error& error) {
    return Error(ErrorCode::kConfiguration, where + ":" +
                                                std::to_string(error.source().begin.line) + ": " +
                                                std::string(error.description()));
  }
  std::map<std::string, Keys> known = SingleSections(config);
  known["cluster"] = {};
  known["repository"] = {};
  for (const auto& [name, node] : document) {
    const std::string key(name.str());
    if (key == "cluster") {
      HF_RETURN_IF_ERROR(ReadSections(node, where, key, config.clusters, ClusterKeys));
    } else if (key == "repository") {
      HF_RETURN_IF_ERROR(ReadSections(node, where, key, config.repositories, RepositoryKeys));
    } else if (known.contains(key)) {
      HF_RETURN_IF_ERROR(ReadKeys(node, where, "[" + key + "]", known.at(key)));
    } else {
      return Unknown(key, At(where, node), known);
    }
  }
  HF_RETURN_IF_ERROR(ReadEnvironment(environment, config));
  HF_RETURN_IF_ERROR(CheckComplete(config, where));
  return config;
}

Result<Config> LoadConfig(const std::optional<std::string>& path, const Environment& environment) {
  const auto variable = [&](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? std::string() : found->second;
  };
  std::string chosen = path.value_or("");
  if (chosen.empty()) {
    const std::string set = variable("XDG_CONFIG_HOME");
    const std::string home = set.empty() ? variable("HOME") + "/.config" : set;
    for (const std::string& candidate :
         {std::string("holdfast.toml"), home + "/holdfast/holdfast.toml"}) {
      std::error_code ignored;
      if (chosen.empty() && std::filesystem::is_regular_file(candidate, ignored)) {
        chosen = candidate;
      }
    }
  }
  if (chosen.empty()) return ParseConfig("", "environment", environment);
  std::error_code ignored;
  errno = std::filesystem::is_directory(chosen, ignored) ? EISDIR : 0;
  std::ifstream file;
  if (errno == 0) file.open(chosen);
  if (!file.is_open()) {
    return Error(ErrorCode::kConfiguration,
                 "cannot read the configuration " + chosen + ": " + std::strerror(errno),
                 "check the path given with --config");
  }
  std::stringstream text;
  text << file.rdbuf();
  HF_TRY(Config config, ParseConfig(text.str(), chosen, environment));
  std::error_code failed;
  config.path = std::filesystem::absolute(chosen, failed).string();
  Anchor(config);
  return config;
}

std::map<std::string, std::vector<std::string>> ConfigurationKeys() {
  Config config;
  ClusterConfig cluster;
  RepositoryConfig repository;
  PeerLimits peer;
  std::map<std::string, std::vector<std::string>> sections;
  const auto add = [&](const std::string& section, const Keys& keys) {
    for (const auto& [key, setter] : keys) sections[section].push_back(key);
  };
  add("[cluster.NAME]", ClusterKeys(cluster));
  add("[cluster.NAME.peer.\"ID\"]", PeerKeys(peer));
  add("[repository.NAME]", RepositoryKeys(repository));
  for (const auto& [name, keys] : SingleSections(config)) add("[" + name + "]", keys);
  return sections;
}

Environment ProcessEnvironment() {
  Environment all;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    all.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return all;
}

Result<ClusterConfig> ChooseCluster(const Config& config, const std::string& name) {
  return Choose(config.clusters, name, "cluster", config.path);
}

Result<RepositoryConfig> ChooseRepository(const Config& config, const std::string& name) {
  return Choose(config.repositories, name, "repository", config.path);
}

}  // namespace holdfast
