// The commands of the program: each takes its options, asks the service, prints, and returns the
// process's exit status. For .cc files only.

#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

#include "apps/holdfast/output.h"
#include "base/clock.h"
#include "service/service.h"

namespace holdfast {

/// Options that every command has.
struct CommonOptions {
  std::string config;
  std::string cluster;
  std::string repository;
  bool json = false;
  bool dry_run = false;
  /// Set by commands that work with a broken configuration, too.
  bool no_configuration = false;
};

/// What a command works with.
struct CommandContext {
  const CommonOptions& options;
  CallContext call;
  Output& output;
  Service& service;
};

/// Exit statuses beyond those of error codes (base/error_codes.def).
inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitBelowAsked = 3;
inline constexpr int kExitDamage = 4;

using Command = std::function<Result<int>(CommandContext&)>;

/// Adds all subcommands to `app`; parsing sets `chosen` to the one that was asked for.
void AddCommands(CLI::App& app, CommonOptions& options, Command& chosen);

/// `holdfast sandbox …` replaces this process with the sandbox's own program. Returns only when
/// that could not be done.
Error RunSandbox(const std::vector<std::string>& arguments);

}  // namespace holdfast
