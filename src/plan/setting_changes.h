// Which settings a copy of a collection gets that the collection has not. Pure.

#pragma once

#include <string>
#include <vector>

#include "model/topology.h"

namespace holdfast {

/// One setting, as it was and as it is to be.
struct SettingChange {
  /// Names of the members that lead to it: "hnsw_config.m".
  std::string name;
  /// JSON texts; empty: not set, so that the server's default counts.
  std::string before;
  std::string after;
  /// Set after everything else (Collection::finish_json).
  bool at_end = false;

  friend bool operator==(const SettingChange&, const SettingChange&) = default;
};

/// Ascending by name, those at the end last. The number of shards is none of them.
std::vector<SettingChange> SettingChanges(const Collection& before, const Collection& after);

/// What `now` has otherwise than `changes` say, one text each; of those that are set at the end, or
/// of the others. A setting that was removed may have any value, the server's default, but for a
/// quantization: there what is left of the old one would be in force.
std::vector<std::string> SettingsNotTaken(const std::vector<SettingChange>& changes,
                                          const Collection& now, bool at_end);

/// "hnsw_config.m: 16 -> 32".
std::string DescribeChange(const SettingChange& change);

}  // namespace holdfast
