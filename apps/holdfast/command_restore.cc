// `holdfast restore`.

#include <charconv>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "apps/holdfast/command_helpers.h"
#include "base/size.h"
#include "model/json.h"

namespace holdfast {
namespace {

struct RestoreFlags {
  std::string group;
  std::string at;
  std::string from;
  std::vector<std::string> collections;
  std::vector<std::string> named;
  std::vector<std::string> as;
  bool hidden = false;
  bool in_place = false;
  bool allow_consolidation = false;
  std::string layout = "spread";
  bool yes = false;
  std::vector<std::uint64_t> avoid;
  std::vector<std::string> shards;
  std::uint64_t points_per_second = 0;
  std::string wait = "0s";
  std::string resume;
};

/// "spread", "same" or "consolidate=PEER".
Status SetLayout(const std::string& text, RestoreRequest& request) {
  constexpr std::string_view kConsolidate = "consolidate=";
  if (text == "spread") {
    request.layout = RestoreLayout::kSpread;
  } else if (text == "same") {
    request.layout = RestoreLayout::kSame;
  } else if (text.starts_with(kConsolidate)) {
    std::uint64_t peer = 0;
    const std::string_view id = std::string_view(text).substr(kConsolidate.size());
    const auto [end, failed] = std::from_chars(id.begin(), id.end(), peer);
    if (failed != std::errc() || end != id.end()) {
      return Error(ErrorCode::kInvalidArgument, "'" + std::string(id) + "' is no peer id",
                   "`holdfast topology` lists the peers");
    }
    request.layout = RestoreLayout::kConsolidate;
    request.consolidate_on = PeerId(peer);
  } else {
    return Error(ErrorCode::kInvalidArgument, "there is no layout '" + text + "'",
                 "use spread, same or consolidate=PEER");
  }
  return {};
}

/// "K" for all collections, "NAME=K" for one; a name may have such a character itself.
Status SetShards(const std::vector<std::string>& texts, RestoreRequest& request) {
  for (const std::string& text : texts) {
    const std::size_t equals = text.rfind('=');
    const std::string_view number =
        std::string_view(text).substr(equals == std::string::npos ? 0 : equals + 1);
    std::uint32_t shards = 0;
    const auto [end, failed] = std::from_chars(number.begin(), number.end(), shards);
    if (failed != std::errc() || end != number.end() || shards == 0) {
      return Error(ErrorCode::kInvalidArgument,
                   "--shards " + text + " does not say how many shards",
                   "write --shards K, or --shards COLLECTION=K");
    }
    const bool first = equals == std::string::npos
                           ? std::exchange(request.shards_of_all, shards) == 0
                           : request.shards.emplace(text.substr(0, equals), shards).second;
    if (!first) {
      return Error(ErrorCode::kInvalidArgument, "--shards " + text + " says it twice");
    }
  }
  return {};
}

Result<RestoreCommand> MakeRestoreCommand(const RestoreFlags& flags) {
  RestoreCommand command;
  command.group = flags.group;
  command.resume_job = flags.resume;
  command.request.collections = All(flags.collections, flags.named);
  if (!flags.at.empty()) {
    HF_TRY(command.at, ParseTime(flags.at));
  }
  if (flags.group.empty() && flags.at.empty() && flags.resume.empty()) {
    return Error(ErrorCode::kInvalidArgument, "which group?",
                 "give its id, a unique prefix of it, or 'latest'; or --at TIME, or --resume JOB");
  }
  if (!flags.at.empty() && !flags.group.empty() && flags.group != "latest") {
    return Error(ErrorCode::kInvalidArgument, "'" + flags.group + "' and --at both say which group",
                 "leave one of them out");
  }
  const bool asks_more = !flags.group.empty() || !flags.at.empty() ||
                         !command.request.collections.empty() || !flags.as.empty() ||
                         !flags.avoid.empty() || !flags.shards.empty() || flags.hidden ||
                         flags.in_place || flags.allow_consolidation;
  if (!flags.resume.empty() && asks_more) {
    return Error(ErrorCode::kInvalidArgument,
                 "--resume goes on with what the job was asked for; nothing can be added to it",
                 "leave out the group and the other options, or begin anew without --resume");
  }
  command.from = flags.from;
  command.request.hidden = flags.hidden;
  command.request.in_place = flags.in_place;
  command.request.allow_consolidation = flags.allow_consolidation;
  command.request.accept_crowding = flags.yes;
  HF_RETURN_IF_ERROR(SetLayout(flags.layout, command.request));
  HF_RETURN_IF_ERROR(SetShards(flags.shards, command.request));
  command.points_per_second = flags.points_per_second;
  for (const std::uint64_t peer : flags.avoid) command.request.avoid.push_back(PeerId(peer));
  HF_TRY(command.wait, ParseDuration(flags.wait));
  for (const std::string& text : flags.as) {
    std::size_t equals = text.find('=');
    // A name may have such a character itself; then --collections tells where it ends.
    for (const std::string& name : command.request.collections) {
      if (text.starts_with(name + "=")) equals = name.size();
    }
    if (equals != std::string::npos) {
      const std::string name = text.substr(0, equals);
      if (!command.request.rename.emplace(name, text.substr(equals + 1)).second) {
        return Error(ErrorCode::kInvalidArgument, "--as renames '" + name + "' twice",
                     "a second copy takes a second restore");
      }
    } else if (command.request.collections.size() == 1) {
      command.request.rename[command.request.collections.front()] = text;
    } else {
      return Error(ErrorCode::kInvalidArgument, "--as " + text + " does not say what to rename",
                   "write --as OLD=NEW, or name one collection with --collections");
    }
  }
  return command;
}

void PrintRestorePlan(Output& output, const RestorePlan& plan) {
  Table table{{"COLLECTION", "AS", "SHARD", "TO PEERS", "WHY", "ALIASES"}};
  for (const CollectionPlan& collection : plan.collections) {
    if (collection.copy_shards != 0) {
      table.push_back({collection.source, collection.target,
                       std::to_string(collection.copy_shards) +
                           (collection.keys.empty() ? " new" : " new of each key"),
                       "the server's choice", "points are copied", Join(collection.aliases)});
    }
    for (const ShardPlacement& placement : collection.shards) {
      std::vector<std::string> peers;
      std::vector<std::string> reasons;
      for (const PeerId peer : placement.peers) peers.push_back(std::to_string(peer.value()));
      for (const PlaceReason reason : placement.reasons) {
        reasons.emplace_back(PlaceReasonName(reason));
      }
      table.push_back({collection.source, collection.target,
                       std::to_string(placement.shard.value()), Join(peers), Join(reasons),
                       Join(collection.aliases)});
    }
  }
  output.PrintTable(table);
  for (const auto& [key, value] : plan.metadata) {
    output.Line("cluster metadata key '" + key + "' is written back");
  }
  for (const std::string& text : plan.given_up) output.Line("given up: " + text);
}

Result<int> RunRestore(CommandContext& context, const RestoreFlags& flags) {
  HF_TRY(const RestoreCommand command, MakeRestoreCommand(flags));
  if (context.options.dry_run) {
    HF_TRY(const RestorePreview preview, context.service.PreviewRestore(context.call, command));
    PrintThenAndNow(context.output, preview);
    PrintRestorePlan(context.output, preview.plan);
    PrintWarnings(context.output, preview.plan.warnings);
    context.output.Result("complete",
                          {{"dry_run", true},
                           {"plan", Json::parse(RestorePlanToJson(preview.plan), nullptr, false)},
                           {"differences", DifferencesJson(preview)}});
    return preview.plan.given_up.empty() ? kExitDone : kExitBelowAsked;
  }
  const MonotonicTime began = SystemClock().Monotonic();
  HF_TRY(const RestoreOutcome outcome, context.service.Restore(context.call, command));
  const Duration took = SystemClock().Monotonic() - began;
  Table table{{"COLLECTION", "RESTORED AS", "POINTS", "SHARDS", "REPLICAS", "ALIASES"}};
  for (const RestoredCollection& item : outcome.collections) {
    table.push_back({item.source, item.target, FormatCount(item.points),
                     std::to_string(item.shards), std::to_string(item.replicas),
                     Join(item.aliases)});
  }
  context.output.PrintTable(table);
  context.output.Line("restored and verified from group " + outcome.group.value() + " in " +
                      FormatDuration(took));
  if (outcome.metadata_keys > 0) {
    context.output.Line("cluster metadata: " + FormatCount(outcome.metadata_keys) +
                        " keys written back");
  }
  for (const std::string& text : outcome.given_up) context.output.Line("given up: " + text);
  if (!context.output.json()) PrintWarnings(context.output, outcome.warnings);
  context.output.Result("complete",
                        Json::parse(RestoreOutcomeToJson(outcome, took), nullptr, false));
  return outcome.given_up.empty() ? kExitDone : kExitBelowAsked;
}

}  // namespace

void PrintThenAndNow(Output& output, const RestorePreview& preview) {
  Table table{{"", "IN THE GROUP", "NOW, AFTER A RESTORE"}};
  for (const RestoreDifference& row : preview.differences) {
    table.push_back({row.what, row.then, row.now});
  }
  output.PrintTable(table);
  output.Line("");
}

Json DifferencesJson(const RestorePreview& preview) {
  Json rows = Json::array();
  for (const RestoreDifference& row : preview.differences) {
    rows.push_back({{"what", row.what}, {"then", row.then}, {"now", row.now}});
  }
  return rows;
}

void AddRestore(CLI::App& app, CommonOptions& options, Command& chosen) {
  const auto flags = std::make_shared<RestoreFlags>();
  CLI::App* command = Add(app, options, "restore", "Restore a group, verify it, switch readers",
                          "holdfast restore latest --to staging --collections docs", true);
  command->add_option("group", flags->group, "Group: id, unique prefix, or 'latest'");
  command->add_option("--to", options.cluster, "Cluster to restore onto (same as --cluster)");
  command->add_option("--at", flags->at, "The last group whose cut is not after this time")
      ->check(Valid(ParseTime, "TIME"));
  command->add_option("--from", flags->from, "'latest' and --at: among the groups of this cluster");
  AddCollections(*command, flags->collections, flags->named);
  command->add_option("--as", flags->as, "Restore under another name: OLD=NEW")
      ->allow_extra_args(false);
  command->add_flag("--hidden", flags->hidden, "Build under <name>__<group> first");
  command->add_flag("--in-place", flags->in_place,
                    "Replace live collections, after a safety backup of them");
  command->add_flag("--allow-consolidation", flags->allow_consolidation,
                    "Accept crowded peers or fewer replicas than the group had (exit status 3)");
  command
      ->add_option("--layout", flags->layout,
                   "spread (even), same (as in the group), consolidate=PEER (all on one)")
      ->capture_default_str();
  command
      ->add_option("--shards", flags->shards,
                   "Another number of shards, K or COLLECTION=K: points are copied out of the "
                   "images (needs holdfast-engine)")
      ->allow_extra_args(false);
  command->add_option("--max-points-per-second", flags->points_per_second,
                      "With --shards: copy no faster than this");
  command->add_flag("--yes", flags->yes, "Consolidate also onto a cluster that is in use");
  command->add_option("--avoid", flags->avoid, "Peers that get nothing")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--wait", flags->wait, "Wait so long for another job on this cluster")
      ->check(Valid(ParseDuration, "DURATION"))
      ->capture_default_str();
  command->add_option("--resume", flags->resume, "Go on with this interrupted job");
  command->callback([flags, &chosen] {
    chosen = [flags](CommandContext& context) { return RunRestore(context, *flags); };
  });
}

}  // namespace holdfast
