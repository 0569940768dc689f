// `holdfast reshard`.

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "apps/holdfast/command_helpers.h"
#include "apps/holdfast/text_file.h"
#include "base/size.h"
#include "model/json.h"

namespace holdfast {
namespace {

constexpr std::uint64_t kSettingsBytesMax = kMiB;
constexpr const char* kSettingsHint = "name a file with a JSON object as docs/reshard.md shows it";

struct ReshardFlags {
  std::string collection;
  std::uint32_t shards = 0;
  std::string settings;
  std::string method = "auto";
  std::string as;
  std::uint64_t points_per_second = 0;
  std::uint32_t passes = 5;
  std::uint32_t batch = 256;
  std::string index_wait = "1h";
  std::string wait = "0s";
  std::string resume;
};

/// Without blanks, as the job's journal keeps it.
Result<std::string> ReadSettings(const std::string& path) {
  HF_TRY(const std::string text,
         ReadTextFile(path, "the settings file", kSettingsHint, kSettingsBytesMax));
  const auto settings = json::Parse(text, "the settings file '" + path + "'");
  if (!settings.ok()) {
    return Error(ErrorCode::kInvalidArgument, settings.error().message(), kSettingsHint);
  }
  return json::Dump(*settings);
}

Result<ReshardCommand> MakeReshardCommand(const ReshardFlags& flags) {
  ReshardCommand command;
  command.request.collection = flags.collection;
  command.request.shards = flags.shards;
  command.request.as = flags.as;
  HF_TRY(command.request.method, ReshardMethodFromName(flags.method));
  command.points_per_second = flags.points_per_second;
  command.passes = flags.passes;
  command.batch = flags.batch;
  command.resume_job = flags.resume;
  HF_TRY(command.index_wait, ParseDuration(flags.index_wait));
  HF_TRY(command.wait, ParseDuration(flags.wait));
  const bool asks = !flags.collection.empty() || flags.shards != 0 || !flags.as.empty() ||
                    !flags.settings.empty();
  if (!flags.resume.empty() && asks) {
    return Error(
        ErrorCode::kInvalidArgument,
        "--resume goes on with what the job was asked for; nothing can be added to it",
        "leave out the collection, --shards, --settings and --as, or begin anew without --resume");
  }
  if (flags.resume.empty() && flags.collection.empty()) {
    return Error(ErrorCode::kInvalidArgument, "which collection?",
                 "give its name or an alias of it; or --resume JOB");
  }
  if (flags.resume.empty() && flags.shards == 0 && flags.settings.empty()) {
    return Error(ErrorCode::kInvalidArgument, "how many shards?",
                 "pass --shards N, or --settings FILE for other settings");
  }
  if (!flags.settings.empty()) {
    HF_TRY(command.request.settings_json, ReadSettings(flags.settings));
  }
  return command;
}

/// The server's default counts.
constexpr const char* kNotSet = "(not set)";

void PrintReshardPlan(Output& output, const ReshardPlan& plan) {
  const std::string per_key =
      plan.keys.empty() ? ""
                        : " of each of its " + std::to_string(plan.keys.size()) + " shard keys";
  output.PrintTable(
      {{"COLLECTION", "SHARDS NOW", "THEN", "METHOD", "INTO", "ALIASES SWITCHED"},
       {plan.source, std::to_string(plan.shards_now), std::to_string(plan.shards) + per_key,
        std::string(ReshardMethodName(plan.method)), plan.target, Join(plan.aliases)}});
  if (!plan.changes.empty()) {
    Table table{{"SETTING", "NOW", "THEN"}};
    for (const SettingChange& change : plan.changes) {
      table.push_back({change.name, change.before.empty() ? kNotSet : change.before,
                       change.after.empty() ? kNotSet : change.after});
    }
    output.PrintTable(table);
  }
  output.Line("method " + std::string(ReshardMethodName(plan.method)) + ": " + plan.why);
  if (plan.method == ReshardMethod::kCopy) {
    output.Line("about " + FormatCount(plan.points) + " points" +
                (plan.bytes > 0 ? ", " + FormatSize(plan.bytes) : "") + " are copied into '" +
                plan.target + "', compared one by one, and caught up with until nothing differs");
  }
  for (const std::string& note : plan.notes) output.Line("note: " + note);
}

/// What is left to do by hand.
void PrintOldCollection(Output& output, const ReshardOutcome& outcome) {
  if (outcome.method != ReshardMethod::kCopy) return;
  if (outcome.aliases.empty()) {
    output.Line("'" + outcome.target + "' is a second collection: '" + outcome.source +
                "' is read under its own name, and nobody was switched");
    return;
  }
  output.Line("'" + outcome.source +
              "' is as it was and nobody reads it any more; drop it with "
              "DELETE /collections/" +
              outcome.source);
}

Result<int> RunReshard(CommandContext& context, const ReshardFlags& flags) {
  HF_TRY(const ReshardCommand command, MakeReshardCommand(flags));
  if (context.options.dry_run) {
    HF_TRY(const ReshardPlan plan, context.service.PreviewReshard(context.call, command));
    PrintReshardPlan(context.output, plan);
    context.output.Result(
        "complete",
        {{"dry_run", true}, {"plan", Json::parse(ReshardPlanToJson(plan), nullptr, false)}});
    return kExitDone;
  }
  const MonotonicTime began = SystemClock().Monotonic();
  HF_TRY(const ReshardOutcome outcome, context.service.Reshard(context.call, command));
  const Duration took = SystemClock().Monotonic() - began;
  context.output.PrintTable(
      {{"COLLECTION", "NOW IN", "SHARDS", "POINTS", "METHOD", "ALIASES"},
       {outcome.source, outcome.target, std::to_string(outcome.shards), FormatCount(outcome.points),
        std::string(ReshardMethodName(outcome.method)), Join(outcome.aliases)}});
  std::string text = "resharded and verified in " + FormatDuration(took);
  if (outcome.method == ReshardMethod::kCopy) {
    text += ": " + std::to_string(outcome.passes) + " passes over all points, " +
            FormatCount(outcome.caught_up) + " differences brought over" +
            (outcome.fenced ? ", the last under the fence" : "");
  }
  context.output.Line(text);
  for (const SettingChange& change : outcome.changes) {
    context.output.Line("setting " + DescribeChange(change));
  }
  PrintOldCollection(context.output, outcome);
  context.output.Result("complete",
                        Json::parse(ReshardOutcomeToJson(outcome, took), nullptr, false));
  return outcome.unproven ? kExitBelowAsked : kExitDone;
}

}  // namespace

void AddReshard(CLI::App& app, CommonOptions& options, Command& chosen) {
  const auto flags = std::make_shared<ReshardFlags>();
  CLI::App* command =
      Add(app, options, "reshard", "Give a collection another number of shards, or other settings",
          "holdfast reshard docs --shards 6 --dry-run", true);
  command->add_option("collection", flags->collection, "Its name, or an alias of it");
  command
      ->add_option("--shards", flags->shards,
                   "Shards it shall have; with custom sharding, of every shard key")
      ->check(CLI::Range(1U, kReshardShardsMax));
  command->add_option("--settings", flags->settings,
                      "File with the settings it shall have otherwise, as in the body that creates "
                      "a collection: a copy with other index parameters");
  command
      ->add_option("--method", flags->method,
                   "native (the cluster moves the points, the name stays), copy (into a new "
                   "collection, then the aliases switch), auto")
      ->capture_default_str();
  command->add_option("--as", flags->as, "Name of the new collection of a copy");
  command
      ->add_option("--max-points-per-second", flags->points_per_second,
                   "Read no more points than this in a second (default: as fast as it goes)")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 40));
  command
      ->add_option("--passes", flags->passes,
                   "Give up after so many comparisons that found writers at work")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--batch", flags->batch, "Points of one read and one write")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  command
      ->add_option("--index-wait", flags->index_wait,
                   "Give the servers so long to build the indexes of a copy before its readers are "
                   "switched; 0s: switch as soon as the points are there")
      ->check(Valid(ParseDuration, "DURATION"))
      ->capture_default_str();
  command->add_option("--wait", flags->wait, "Wait so long for another job on this cluster")
      ->check(Valid(ParseDuration, "DURATION"))
      ->capture_default_str();
  command->add_option("--resume", flags->resume, "Go on with this interrupted job");
  command->callback([flags, &chosen] {
    chosen = [flags](CommandContext& context) { return RunReshard(context, *flags); };
  });
}

}  // namespace holdfast
