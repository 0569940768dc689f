// What several commands share. For .cc files only.

#pragma once

#include <CLI/CLI.hpp>
#include <array>
#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/holdfast/commands.h"
#include "base/join.h"

namespace holdfast {

using Json = nlohmann::json;

/// A subcommand with the options all of them share and an example in its help.
inline CLI::App* Add(CLI::App& app, CommonOptions& options, const char* name, const char* what,
                     const std::string& example, bool changes) {
  CLI::App* command = app.add_subcommand(name, what);
  command->footer("Example:\n  " + example);
  command->add_option(
      "--config", options.config,
      "Configuration file (default: ./holdfast.toml, then the user's config folder)");
  command->add_option("--cluster", options.cluster, "Cluster of the configuration (the only one)");
  command->add_option("--repository", options.repository,
                      "Repository of the configuration (the only one)");
  command->add_flag("--json", options.json, "One JSON object a line on standard output");
  if (changes) {
    command->add_flag("--dry-run", options.dry_run, "Say what would be done and change nothing");
  }
  return command;
}

/// Parses with `parse`, or makes it a usage error of the option.
template <class Parse>
CLI::Validator Valid(Parse parse, const char* type) {
  return CLI::Validator(
      [parse](std::string& text) {
        const auto value = parse(text);
        return value.ok() ? std::string() : value.error().message() + "; " + value.error().hint();
      },
      type);
}

/// --collections and --collection: a name may have a comma itself. One value an occurrence, because
/// what stands behind it is the group.
inline void AddCollections(CLI::App& command, std::vector<std::string>& list,
                           std::vector<std::string>& named) {
  command.add_option("--collections", list, "Only these collections: A,B,C")
      ->delimiter(',')
      ->allow_extra_args(false);
  command.add_option("--collection", named, "Only this one, commas and all; may be repeated")
      ->allow_extra_args(false);
}

inline std::vector<std::string> All(std::vector<std::string> list,
                                    const std::vector<std::string>& named) {
  list.insert(list.end(), named.begin(), named.end());
  return list;
}

/// 1234567 microseconds -> "1234.6 ms".
inline std::string Milliseconds(std::int64_t microseconds) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f ms", static_cast<double>(microseconds) / 1000);
  return text.data();
}

inline void PrintWarnings(Output& output, const std::vector<std::string>& warnings) {
  for (const std::string& warning : warnings) output.OnWarning(warning);
}

/// The comparison of `restore --dry-run` and `topology --against`, for people and as JSON.
void PrintThenAndNow(Output& output, const RestorePreview& preview);
Json DifferencesJson(const RestorePreview& preview);

void AddJobs(CLI::App& app, CommonOptions& options, Command& chosen);
void AddBackup(CLI::App& app, CommonOptions& options, Command& chosen);
void AddRestore(CLI::App& app, CommonOptions& options, Command& chosen);
void AddRebalance(CLI::App& app, CommonOptions& options, Command& chosen);
void AddReshard(CLI::App& app, CommonOptions& options, Command& chosen);

}  // namespace holdfast
