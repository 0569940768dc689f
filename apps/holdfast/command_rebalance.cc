// `holdfast rebalance`.

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "apps/holdfast/command_helpers.h"
#include "apps/holdfast/text_file.h"
#include "base/size.h"
#include "model/json.h"

namespace holdfast {
namespace {

constexpr std::uint64_t kPlanFileBytesMax = 64 * kMiB;
constexpr const char* kPlanFileHint =
    "write 'even', or the name of a file as docs/rebalance.md shows it";
constexpr const char* kEven = "even";

struct RebalanceFlags {
  std::vector<std::string> collections;
  std::vector<std::string> named;
  std::string to = kEven;
  std::uint32_t transfers = 4;
  std::uint32_t per_peer = 1;
  std::string rate;
  std::vector<std::uint64_t> without;
  std::string wait = "0s";
  std::string resume;
};

Result<RebalanceCommand> MakeRebalanceCommand(const RebalanceFlags& flags) {
  RebalanceCommand command;
  command.resume_job = flags.resume;
  HF_TRY(command.wait, ParseDuration(flags.wait));
  RebalanceRequest& request = command.asked.request;
  request.collections = All(flags.collections, flags.named);
  request.receives_at_once = flags.per_peer;
  for (const std::uint64_t peer : flags.without) request.without.push_back(PeerId(peer));
  command.asked.transfers_at_once = flags.transfers;
  if (!flags.rate.empty()) {
    HF_TRY(command.asked.bytes_per_second, ParseSize(flags.rate));
    if (command.asked.bytes_per_second == 0) {
      return Error(ErrorCode::kInvalidArgument, "--max-bytes-per-second 0 would never begin",
                   "leave it out for no limit");
    }
  }
  if (!flags.resume.empty() &&
      (!request.collections.empty() || flags.to != kEven || !request.without.empty())) {
    return Error(ErrorCode::kInvalidArgument,
                 "--resume goes on with what the job was asked for; nothing can be added to it",
                 "leave out the other options, or begin anew without --resume");
  }
  if (flags.to == kEven) return command;
  HF_TRY(const std::string text,
         ReadTextFile(flags.to, "the plan file", kPlanFileHint, kPlanFileBytesMax));
  auto wanted = WantedLayoutFromJson(text);
  if (!wanted.ok()) {
    return std::move(wanted).error().While("the plan file '" + flags.to + "'");
  }
  request.wanted = *std::move(wanted);
  if (request.wanted.empty()) {
    return Error(ErrorCode::kInvalidArgument, "the plan file '" + flags.to + "' names nothing",
                 "docs/rebalance.md shows what it must look like");
  }
  return command;
}

std::string Peers(const RebalanceStep& step, bool target) {
  if (target && step.action == RebalanceAction::kDrop) return "-";
  return std::to_string((target ? step.to : step.from).value());
}

int PrintPlan(Output& output, const RebalancePlan& plan) {
  Table table{{"ACTION", "COLLECTION", "SHARD", "FROM", "TO", "SIZE"}};
  for (const RebalanceStep& step : plan.steps) {
    table.push_back({std::string(RebalanceActionName(step.action)), step.collection,
                     std::to_string(step.shard.value()), Peers(step, false), Peers(step, true),
                     step.action == RebalanceAction::kDrop ? "-" : FormatSize(step.bytes)});
  }
  if (plan.steps.empty()) {
    output.Line("nothing to do");
  } else {
    output.PrintTable(table);
    output.Line("about " + FormatSize(plan.bytes) + " to transfer");
  }
  for (const std::string& text : plan.left) output.Line("not reached: " + text);
  for (const std::string& text : plan.removable) output.Line(text);
  PrintWarnings(output, plan.warnings);
  output.Result("complete", {{"dry_run", true},
                             {"plan", Json::parse(RebalancePlanToJson(plan), nullptr, false)}});
  return plan.left.empty() ? kExitDone : kExitBelowAsked;
}

Result<int> RunRebalance(CommandContext& context, const RebalanceFlags& flags) {
  HF_TRY(const RebalanceCommand command, MakeRebalanceCommand(flags));
  Output& output = context.output;
  if (context.options.dry_run) {
    HF_TRY(const RebalancePreview preview, context.service.PreviewRebalance(context.call, command));
    return PrintPlan(output, preview.plan);
  }
  const MonotonicTime began = SystemClock().Monotonic();
  HF_TRY(const RebalanceOutcome outcome, context.service.Rebalance(context.call, command));
  const Duration took = SystemClock().Monotonic() - began;
  if (outcome.moved + outcome.replicated + outcome.dropped == 0) {
    output.Line(outcome.left.empty() ? "nothing to do: the layout is as it should be"
                                     : "nothing could be done");
  } else {
    output.Line("moved " + FormatCount(outcome.moved) + " replicas, made " +
                FormatCount(outcome.replicated) + ", dropped " + FormatCount(outcome.dropped) +
                ": about " + FormatSize(outcome.bytes) + " in " + FormatDuration(took));
  }
  for (const std::string& text : outcome.left) output.Line("not reached: " + text);
  for (const std::string& text : outcome.removable) output.Line(text);
  if (!output.json()) PrintWarnings(output, outcome.warnings);
  output.Result("complete", Json::parse(RebalanceOutcomeToJson(outcome, took), nullptr, false));
  return outcome.left.empty() ? kExitDone : kExitBelowAsked;
}

}  // namespace

void AddRebalance(CLI::App& app, CommonOptions& options, Command& chosen) {
  const auto flags = std::make_shared<RebalanceFlags>();
  CLI::App* command = Add(app, options, "rebalance",
                          "Move and replicate shards until they are spread as they should be",
                          "holdfast rebalance --dry-run\n  holdfast rebalance --max-transfers 2 "
                          "--max-bytes-per-second 100MiB",
                          true);
  AddCollections(*command, flags->collections, flags->named);
  command
      ->add_option("--to", flags->to,
                   "even, or a file that names the peers of shards (docs/rebalance.md)")
      ->capture_default_str();
  command->add_option("--max-transfers", flags->transfers, "Transfers at once in the whole cluster")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--max-per-peer", flags->per_peer, "Transfers to one peer at once")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command
      ->add_option("--max-bytes-per-second", flags->rate,
                   "Pace the starts of transfers by their sizes; the servers copy each one as fast "
                   "as they can")
      ->check(Valid(ParseSize, "SIZE"));
  command
      ->add_option(
          "--without", flags->without,
          "Give up these peers, which do not answer: what they held is made anew elsewhere")
      ->delimiter(',')
      ->allow_extra_args(false);
  command
      ->add_option("--wait", flags->wait,
                   "Wait so long for another job on this cluster, and for transfers of others")
      ->check(Valid(ParseDuration, "DURATION"))
      ->capture_default_str();
  command->add_option("--resume", flags->resume, "Go on with this interrupted job");
  command->callback([flags, &chosen] {
    chosen = [flags](CommandContext& context) { return RunRebalance(context, *flags); };
  });
}

}  // namespace holdfast
