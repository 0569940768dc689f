// `holdfast backup`.

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "apps/holdfast/command_helpers.h"
#include "base/size.h"
#include "model/json.h"

namespace holdfast {
namespace {

struct BackupFlags {
  std::vector<std::string> collections;
  std::vector<std::string> named;
  std::string max_skew;
  std::string settle = "10s";
  std::string wait = "0s";
  std::string mode = "auto";
  bool skip_unhealthy = false;
  bool allow_old = false;
  std::vector<std::string> attach;
};

Result<BackupCommand> MakeBackupCommand(const BackupFlags& flags) {
  BackupCommand command;
  command.request.collections = All(flags.collections, flags.named);
  command.request.skip_unhealthy = flags.skip_unhealthy;
  command.request.allow_old = flags.allow_old;
  command.request.mode = flags.mode == "stream"   ? ModeChoice::kStream
                         : flags.mode == "staged" ? ModeChoice::kStaged
                                                  : ModeChoice::kAuto;
  if (!flags.max_skew.empty()) {
    HF_TRY(command.max_skew, ParseDuration(flags.max_skew));
  }
  HF_TRY(command.capture.settle, ParseDuration(flags.settle));
  HF_TRY(command.wait, ParseDuration(flags.wait));
  for (const std::string& text : flags.attach) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) {
      return Error(ErrorCode::kInvalidArgument, "--attach " + text + " has no file",
                   "write --attach access-policy=FILE");
    }
    command.attachments.push_back(
        {.name = text.substr(0, equals), .path = text.substr(equals + 1)});
  }
  return command;
}

void PrintPlan(Output& output, const BackupPlan& plan) {
  Table table{{"COLLECTION", "SHARD", "FROM PEER", "MODE", "WAVE", "PREDICTED"}};
  for (const CaptureStep& step : plan.steps) {
    table.push_back({step.collection, std::to_string(step.shard.value()),
                     std::to_string(step.sources.front().value()),
                     std::string(CaptureModeName(step.mode)), std::to_string(step.wave + 1),
                     step.predicted_bytes == 0 ? "unknown" : FormatSize(step.predicted_bytes)});
  }
  output.PrintTable(table);
  for (const SkippedCollection& skipped : plan.skipped) {
    output.Line("skipped '" + skipped.name + "': " + skipped.reason);
  }
}

void PrintBackup(Output& output, const BackupOutcome& outcome, Duration took) {
  const GroupManifest& group = outcome.manifest;
  Table table{{"COLLECTION", "SHARDS", "POINTS", "SIZE", "ALIASES"}};
  for (const CollectionSummary& collection : group.collections) {
    table.push_back({collection.name, std::to_string(collection.shards),
                     FormatCount(collection.points), FormatSize(collection.tar_bytes),
                     Join(collection.aliases)});
  }
  output.PrintTable(table);
  output.Line("group " + group.id.value() +
              " is complete: " + std::string(ConsistencyName(group.consistency)) + ", skew " +
              Milliseconds(group.skew_us) + ", cut at " + FormatTime(group.cut_at));
  output.Line("read " + FormatSize(group.bytes_read) + ", new " + FormatSize(group.bytes_new) +
              ", stored " + FormatSize(group.bytes_stored) + ", in " + FormatDuration(took));
  for (const SkippedCollection& skipped : group.skipped) {
    output.Line("NOT in this group: '" + skipped.name + "': " + skipped.reason);
  }
}

Result<int> RunBackup(CommandContext& context, const BackupFlags& flags) {
  HF_TRY(const BackupCommand command, MakeBackupCommand(flags));
  if (context.options.dry_run) {
    HF_TRY(const BackupPreview preview, context.service.PreviewBackup(context.call, command));
    PrintPlan(context.output, preview.plan);
    PrintWarnings(context.output, preview.plan.warnings);
    context.output.Result(
        "complete",
        {{"dry_run", true}, {"plan", Json::parse(BackupPlanToJson(preview.plan), nullptr, false)}});
    return kExitDone;
  }
  const MonotonicTime began = SystemClock().Monotonic();
  HF_TRY(const BackupOutcome outcome, context.service.Backup(context.call, command));
  const Duration took = SystemClock().Monotonic() - began;
  PrintBackup(context.output, outcome, took);
  if (!context.output.json()) PrintWarnings(context.output, outcome.manifest.warnings);
  context.output.Result("complete",
                        Json::parse(BackupOutcomeToJson(outcome, took), nullptr, false));
  return outcome.below_asked ? kExitBelowAsked : kExitDone;
}

}  // namespace

void AddBackup(CLI::App& app, CommonOptions& options, Command& chosen) {
  const auto flags = std::make_shared<BackupFlags>();
  CLI::App* command = Add(app, options, "backup", "Back up the whole cluster as one group",
                          "holdfast backup --max-skew 500ms", true);
  const auto duration = Valid(ParseDuration, "DURATION");
  AddCollections(*command, flags->collections, flags->named);
  command->add_option("--max-skew", flags->max_skew, "Fail when the cut is wider than this")
      ->check(duration);
  command->add_option("--settle", flags->settle, "Wait so long for optimizers to come to rest")
      ->check(duration)
      ->capture_default_str();
  command->add_option("--wait", flags->wait, "Wait so long for transfers and other jobs")
      ->check(duration)
      ->capture_default_str();
  command->add_option("--mode", flags->mode, "How shards are taken")
      ->check(CLI::IsMember({"auto", "stream", "staged"}))
      ->capture_default_str();
  command->add_flag("--skip-unhealthy", flags->skip_unhealthy,
                    "Make a complete group of the collections that can be taken (exit status 3)");
  command->add_flag("--allow-old", flags->allow_old,
                    std::string("Take servers older than ") + kOldestVersion);
  command->add_option("--attach", flags->attach, "Keep a file with the group: NAME=FILE")
      ->allow_extra_args(false);
  command->callback([flags, &chosen] {
    chosen = [flags](CommandContext& context) { return RunBackup(context, *flags); };
  });
}

}  // namespace holdfast
