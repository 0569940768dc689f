// holdfast.toml and its environment, read strictly: an unknown key is an error that names the
// nearest known one.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/size.h"
#include "plan/restore_plan.h"

namespace holdfast {

/// [cluster.NAME]
struct ClusterConfig {
  std::string name;
  /// Any one is enough where peers share a port.
  std::vector<std::string> urls;
  /// Files that hold one API key each. Least privilege: reading keys for observing, `key_file` with
  /// rw on the collections for backup, `manage_key_file` for restore.
  std::string read_key_file;
  std::string key_file;
  std::string manage_key_file;
  std::string ca_file;
  bool insecure = false;
  /// Shell command or http(s) URL that stops the writers, and the one that releases them.
  std::string freeze;
  std::string thaw;
  /// The watchdog releases writers after this at the latest.
  Duration fence_limit = std::chrono::seconds(60);
  /// [cluster.NAME.peer."ID"]: what the servers do not tell of their peers.
  std::map<PeerId, PeerLimits> peers;
};

/// [repository.NAME]
struct RepositoryConfig {
  std::string name;
  /// "file:///srv/backups" or "s3://bucket/prefix".
  std::string url;
  /// "password" or "none"; required, so that nobody is without encryption by oversight.
  std::string encryption;
  std::string password_file;
  std::string endpoint;
  std::string region;
  bool virtual_host = false;
  /// Credentials in the AWS tools' format; absent: from the environment.
  std::string credentials_file;
  std::string credentials_profile;
  std::string ca_file;
  bool insecure = false;
  /// Nothing is ever written to it, not even the note of a reader.
  bool read_only = false;
};

/// [catalog]
struct CatalogConfig {
  /// Empty: a SQLite file in the user's state folder.
  std::string url;
  std::string password_file;
  std::string ca_file;
};

/// [backup]
struct BackupConfig {
  std::string spool_directory;
  std::uint64_t spool_bytes_max = 8 * kGiB;
  std::uint32_t streams_max = 128;
  std::uint32_t streams_per_peer_max = 32;
  std::uint32_t upload_threads = 4;
};

/// [restore]
struct RestoreConfig {
  /// Collections, or patterns with '*', in the order in which they are wanted back.
  std::vector<std::string> first;
  /// Where images are unpacked whose points are copied (`--shards`); empty: $TMPDIR.
  std::string scratch_directory;
  std::uint64_t scratch_bytes_max = 64 * kGiB;
};

/// [engine]: the process that opens images (docs/design/engine-protocol.md).
struct EngineConfig {
  std::vector<std::string> command = {"holdfast-engine"};
  std::uint64_t memory_bytes = 4 * kGiB;
};

struct Config {
  std::map<std::string, ClusterConfig> clusters;
  std::map<std::string, RepositoryConfig> repositories;
  CatalogConfig catalog;
  BackupConfig backup;
  RestoreConfig restore;
  EngineConfig engine;
  /// The file that was read; empty when there was none.
  std::string path;
};

/// `environment` gives a variable's value. Reads `path` when given (kConfiguration when it cannot
/// be read), else ./holdfast.toml, else $XDG_CONFIG_HOME/holdfast/holdfast.toml (~/.config by
/// default); no file at all is an empty configuration. Then HOLDFAST__SECTION__NAME__KEY overrides,
/// lists written with commas. Relative file names of keys and passwords are relative to the file's
/// folder. kConfiguration names file, line and key.
using Environment = std::map<std::string, std::string>;
Result<Config> LoadConfig(const std::optional<std::string>& path, const Environment& environment);

/// The same from a text; `where` stands for the file in errors.
Result<Config> ParseConfig(std::string_view text, const std::string& where,
                           const Environment& environment);

/// Every section with its keys: what docs/configuration.md has to explain.
std::map<std::string, std::vector<std::string>> ConfigurationKeys();

/// The environment of this process.
Environment ProcessEnvironment();

/// The one named `name`; without a name the only one. kConfiguration listing those there are.
Result<ClusterConfig> ChooseCluster(const Config& config, const std::string& name);
Result<RepositoryConfig> ChooseRepository(const Config& config, const std::string& name);

}  // namespace holdfast
