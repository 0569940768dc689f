#include "apps/holdfast/commands.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "apps/holdfast/command_helpers.h"
#include "base/size.h"
#include "model/json.h"
#include "model/replica_counts.h"

namespace holdfast {
namespace {

// --- init, check, topology ---------------------------------------------------------------------

Result<int> RunInit(CommandContext& context) {
  HF_TRY(const InitReport report, context.service.Init(context.call, context.options.dry_run));
  const bool sealed = report.encryption == "password";
  context.output.Line((context.options.dry_run ? "would make" : "made") + std::string(" a ") +
                      (sealed ? "repository with encryption" : "repository WITHOUT encryption") +
                      " at " + report.url +
                      (report.repository_id.empty() ? "" : ", id " + report.repository_id));
  if (sealed) {
    context.output.Line("Keep a copy of the password elsewhere: without it nobody can restore.");
  }
  context.output.Result("complete", {{"repository_id", report.repository_id},
                                     {"url", report.url},
                                     {"encryption", report.encryption},
                                     {"dry_run", context.options.dry_run}});
  return kExitDone;
}

Result<int> RunCheck(CommandContext& context) {
  HF_TRY(const auto findings, context.service.Check(context.call));
  if (context.call.stop.stop_requested()) {
    return Error(ErrorCode::kCancelled, "the check was stopped");
  }
  Json list = Json::array();
  Table table{{"CHECK", "RESULT", "DETAIL"}};
  std::string failed;
  for (const CheckFinding& finding : findings) {
    const bool fails = !finding.ok && !finding.optional;
    if (fails) failed += (failed.empty() ? "" : ", ") + finding.what;
    table.push_back({finding.what,
                     finding.ok ? "ok"
                     : fails    ? "FAILED"
                                : "warning",
                     finding.detail});
    list.push_back({{"what", finding.what},
                    {"ok", finding.ok},
                    {"optional", finding.optional},
                    {"detail", finding.detail}});
  }
  context.output.PrintTable(table);
  if (failed.empty()) {
    context.output.Result("complete", {{"findings", std::move(list)}});
    return kExitDone;
  }
  Json members = {{"findings", std::move(list)}};
  members["error"] = {{"code", ErrorCodeName(ErrorCode::kFailedPrecondition)},
                      {"message", "not as it must be: " + failed},
                      {"hint", "the findings say what is wrong with each"}};
  context.output.Result("failed", members);
  return kExitFailed;
}

void PrintTopology(Output& output, const Topology& topology) {
  Table peers{{"PEER", "ADDRESS", "VERSION", "STATE"}};
  for (const Peer& peer : topology.peers) {
    peers.push_back({std::to_string(peer.id.value()), peer.url.empty() ? peer.p2p_uri : peer.url,
                     peer.version, peer.answers ? "answers" : "does not answer: " + peer.trouble});
  }
  output.PrintTable(peers);
  output.Line("");
  Table collections{{"COLLECTION", "SHARDS", "REPLICAS", "POINTS", "ALIASES", "STATE"}};
  for (const Collection& collection : topology.collections) {
    const ReplicaCounts counts = CountReplicas(topology, collection);
    std::string state = FormatReplicaState(counts);
    if (!collection.resharding.empty()) state += ", resharding";
    if (!collection.transfers.empty()) state += ", transfer in progress";
    collections.push_back({collection.name, std::to_string(collection.shards.size()),
                           FormatReplicaNumber(counts, collection.replication_factor),
                           FormatCount(collection.points), Join(collection.aliases), state});
  }
  output.PrintTable(collections);
}

/// What a restore of the group would find and give up now. Built beside, so that names that are
/// taken do not stand in the way.
Result<int> RunTopologyAgainst(CommandContext& context, const std::string& group) {
  // The cluster's own groups; a cluster that has none may be one to restore onto: then those of the
  // only other one, as `restore --to` has it.
  auto id = context.service.ResolveGroup(context.call, group, {}, context.options.cluster);
  if (!id.ok() && id.error().code() == ErrorCode::kNotFound && !context.options.cluster.empty()) {
    auto others = context.service.ResolveGroup(context.call, group, {});
    if (others.ok()) id = std::move(others);
  }
  if (!id.ok()) return std::move(id).error();
  RestoreCommand command;
  command.group = id->value();
  command.request.hidden = true;
  command.request.allow_consolidation = true;
  HF_TRY(const RestorePreview preview, context.service.PreviewRestore(context.call, command));
  PrintThenAndNow(context.output, preview);
  for (const std::string& text : preview.plan.given_up) {
    context.output.Line("a restore now would give up: " + text);
  }
  PrintWarnings(context.output, preview.plan.warnings);
  context.output.Result("complete", {{"group", preview.manifest.id.value()},
                                     {"differences", DifferencesJson(preview)},
                                     {"given_up", preview.plan.given_up},
                                     {"warnings", preview.plan.warnings}});
  return preview.plan.given_up.empty() ? kExitDone : kExitBelowAsked;
}

Result<int> RunTopology(CommandContext& context, const std::string& against) {
  if (!against.empty()) return RunTopologyAgainst(context, against);
  HF_TRY(const Topology topology, context.service.ReadTopology(context.call));
  PrintTopology(context.output, topology);
  context.output.Result("complete",
                        {{"topology", Json::parse(TopologyToJson(topology), nullptr, false)}});
  return kExitDone;
}

// --- groups, show ------------------------------------------------------------------------------

/// Warns of groups that cannot be read; their list for --json.
Json ReportDamaged(Output& output, const std::vector<DamagedGroup>& damaged) {
  Json list = Json::array();
  for (const DamagedGroup& item : damaged) {
    list.push_back({{"group", item.group.value()}, {"message", item.why.message()}});
    output.OnWarning("group " + item.group.value() + " cannot be read: " + item.why.message());
  }
  return list;
}

Result<int> RunGroups(CommandContext& context, bool all) {
  HF_TRY(const GroupListing listing, context.service.ListGroups(context.call, all));
  Table table{
      {"GROUP", "CLUSTER", "CUT", "CONSISTENCY", "SKEW", "COLLECTIONS", "POINTS", "STORED"}};
  Json list = Json::array();
  for (const GroupLine& line : listing.groups) {
    const GroupManifest& group = line.manifest;
    table.push_back({group.id.value() + (line.forgotten ? " (forgotten)" : "") +
                         (group.purpose.empty() ? "" : " (" + group.purpose + ")"),
                     group.cluster, FormatTime(group.cut_at),
                     std::string(ConsistencyName(group.consistency)), Milliseconds(group.skew_us),
                     std::to_string(line.collections), FormatCount(group.points),
                     FormatSize(group.bytes_stored)});
    list.push_back({{"group", group.id.value()},
                    {"cluster", group.cluster},
                    {"purpose", group.purpose},
                    {"cut_at", FormatTime(group.cut_at)},
                    {"consistency", ConsistencyName(group.consistency)},
                    {"skew_ms", static_cast<double>(group.skew_us) / 1000},
                    {"collections", line.collections},
                    {"points", group.points},
                    {"bytes_read", group.bytes_read},
                    {"bytes_new", group.bytes_new},
                    {"bytes_stored", group.bytes_stored},
                    {"forgotten", line.forgotten}});
  }
  context.output.PrintTable(table);
  context.output.Result("complete", {{"groups", std::move(list)},
                                     {"damaged", ReportDamaged(context.output, listing.damaged)}});
  return listing.damaged.empty() ? kExitDone : kExitDamage;
}

/// Writes to standard output, for `show --attachment`.
class StandardOutput final : public ByteSink {
 public:
  Status Write(const CallContext&, ByteView bytes) override {
    if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size()) return {};
    return Error(ErrorCode::kUnavailable, std::string("write output: ") + std::strerror(errno));
  }
};

void PrintRecord(Output& output, const CollectionRecord& record) {
  output.Line("");
  output.Line("collection " + record.collection.name +
              (record.collection.uuid.empty() ? "" : " (" + record.collection.uuid + ")") + ": " +
              std::to_string(record.collection.indexes.size()) + " payload indexes, " +
              std::to_string(record.samples.size()) + " sampled points, " +
              std::to_string(record.queries.size()) + " golden queries");
  Table table{
      {"SHARD", "KEY", "FROM PEER", "MODE", "DELETES", "POINTS", "SIZE", "CUT AFTER START"}};
  for (const ShardImage& image : record.shards) {
    table.push_back({std::to_string(image.shard.value()),
                     image.key ? FormatShardKey(*image.key) : "-",
                     std::to_string(image.peer.value()), std::string(CaptureModeName(image.mode)),
                     std::string(DeleteProofName(image.delete_proof)),
                     FormatCount(image.points_max), FormatSize(image.tar_bytes),
                     Milliseconds(image.cut_begin_us) + " to " + Milliseconds(image.cut_end_us)});
  }
  output.PrintTable(table);
}

Result<int> RunShow(CommandContext& context, const std::string& text,
                    const std::string& attachment) {
  if (!attachment.empty() && context.options.json) {
    return Error(ErrorCode::kInvalidArgument,
                 "--attachment writes the file to standard output, where --json has its lines",
                 "leave one of the two out");
  }
  HF_TRY(const GroupId id,
         context.service.ResolveGroup(context.call, text, std::nullopt, context.options.cluster));
  if (!attachment.empty()) {
    StandardOutput out;
    HF_RETURN_IF_ERROR(context.service.ReadAttachment(context.call, id, attachment, out));
    return kExitDone;
  }
  HF_TRY(const GroupLine line, context.service.ReadGroup(context.call, id));
  HF_TRY(const auto records, context.service.ReadRecords(context.call, id));
  const GroupManifest& group = line.manifest;
  Output& output = context.output;
  output.Line("group        " + group.id.value() + (line.forgotten ? " (forgotten)" : ""));
  output.Line("cluster      " + group.cluster + ", " + std::to_string(group.topology.peers.size()) +
              " peers");
  output.Line("cut          " + FormatTime(group.cut_at) + ", " +
              std::string(ConsistencyName(group.consistency)) + ", skew " +
              Milliseconds(group.skew_us) + ", " + std::to_string(group.waves) + " wave(s)");
  output.Line("points       " + FormatCount(group.points));
  output.Line("size         read " + FormatSize(group.bytes_read) + ", new " +
              FormatSize(group.bytes_new) + ", stored " + FormatSize(group.bytes_stored));
  for (const Attachment& item : group.attachments) {
    output.Line("attachment   " + item.name + ", " + FormatSize(item.bytes));
  }
  for (const SkippedCollection& item : group.skipped) {
    output.Line("skipped      " + item.name + ": " + item.reason);
  }
  Json list = Json::array();
  for (const CollectionRecord& record : records) {
    PrintRecord(output, record);
    list.push_back(Json::parse(RecordToJson(record), nullptr, false));
  }
  PrintWarnings(output, group.warnings);
  output.Result("complete", {{"manifest", Json::parse(ManifestToJson(group), nullptr, false)},
                             {"forgotten", line.forgotten},
                             {"collections", std::move(list)}});
  return kExitDone;
}

// --- forget, verify, catalog, version ----------------------------------------------------------

Result<int> RunForget(CommandContext& context, const std::string& text, const std::string& reason) {
  HF_TRY(const GroupId id,
         context.service.ResolveGroup(context.call, text, std::nullopt, context.options.cluster));
  if (!context.options.dry_run) {
    HF_RETURN_IF_ERROR(context.service.Forget(context.call, id, reason));
  }
  context.output.Line((context.options.dry_run ? "would forget " : "forgot ") + id.value() +
                      "; nothing was deleted");
  context.output.Result("complete", {{"group", id.value()}, {"dry_run", context.options.dry_run}});
  return kExitDone;
}

/// Passes progress of a verification on.
class VerifyPrinter final : public VerifyObserver {
 public:
  explicit VerifyPrinter(Output& output) : output_(output) {}
  void OnProgress(const VerifyProgress& progress) override {
    output_.Event({{"event", "progress"},
                   {"phase", "verify"},
                   {"packs", progress.packs_done},
                   {"packs_total", progress.packs},
                   {"bytes", progress.bytes_done},
                   {"damaged", progress.damaged}});
  }
  void OnDamage(const Damage& damage) override {
    output_.OnWarning(damage.object + ": " + damage.what);
  }

 private:
  Output& output_;
};

Result<int> RunVerify(CommandContext& context, const std::vector<std::string>& groups,
                      std::uint32_t share) {
  VerifyOptions options;
  options.share = share;
  for (const std::string& text : groups) {
    HF_TRY(const GroupId id,
           context.service.ResolveGroup(context.call, text, std::nullopt, context.options.cluster));
    options.groups.push_back(id);
  }
  VerifyPrinter printer(context.output);
  HF_TRY(const VerifyReport report,
         context.service.VerifyRepository(context.call, options, &printer));
  for (const Damage& damage : report.damaged) {
    context.output.Line("DAMAGED " + damage.object +
                        (damage.block ? " block " + std::to_string(*damage.block) : "") + ": " +
                        damage.what);
    for (const AffectedImage& image : damage.affected) {
      context.output.Line("  needed by group " + image.group.value() +
                          (image.label.empty() ? "" : ", " + image.label));
    }
  }
  context.output.Line(
      "verified " + std::to_string(report.groups) + " groups, " + FormatCount(report.blocks) +
      " blocks, " + FormatSize(report.bytes) + ": " +
      (report.damaged_count == 0 ? "no damage" : FormatCount(report.damaged_count) + " damaged"));
  const bool good = report.damaged_count == 0;
  context.output.Result(good ? "complete" : "failed",
                        Json::parse(VerifyReportToJson(report), nullptr, false));
  return good ? kExitDone : kExitDamage;
}

Result<int> RunRebuild(CommandContext& context) {
  const bool dry_run = context.options.dry_run;
  HF_TRY(const RebuildReport report, context.service.RebuildCatalog(context.call, dry_run));
  context.output.Line("the catalog " + std::string(dry_run ? "would know " : "knows ") +
                      std::to_string(report.groups) + " groups of the repository");
  context.output.Result("complete", {{"groups", report.groups},
                                     {"removed", report.removed},
                                     {"damaged", ReportDamaged(context.output, report.damaged)},
                                     {"dry_run", dry_run}});
  return report.damaged.empty() ? kExitDone : kExitDamage;
}

void AddReaders(CLI::App& app, CommonOptions& options, Command& chosen) {
  const auto all = std::make_shared<bool>(false);
  CLI::App* groups =
      Add(app, options, "groups", "List backup groups", "holdfast groups --json", false);
  groups->add_flag("--all", *all, "Forgotten ones too");
  groups->callback([all, &chosen] {
    chosen = [all](CommandContext& context) { return RunGroups(context, *all); };
  });
  const auto group = std::make_shared<std::string>();
  const auto attachment = std::make_shared<std::string>();
  CLI::App* show =
      Add(app, options, "show", "Show what a group holds", "holdfast show latest", false);
  show->add_option("group", *group, "Group: id, unique prefix, or 'latest'")->required();
  show->add_option("--attachment", *attachment, "Write this attachment to standard output");
  show->callback([group, attachment, &chosen] {
    chosen = [group, attachment](CommandContext& context) {
      return RunShow(context, *group, *attachment);
    };
  });
}

void AddKeepers(CLI::App& app, CommonOptions& options, Command& chosen) {
  const auto group = std::make_shared<std::string>();
  const auto reason = std::make_shared<std::string>();
  CLI::App* forget = Add(app, options, "forget", "Mark a group as forgotten; deletes nothing",
                         "holdfast forget 20261122T0324 --reason 'test run'", true);
  forget->add_option("group", *group, "Group: id or unique prefix")->required();
  forget->add_option("--reason", *reason, "Kept with the mark");
  forget->callback([group, reason, &chosen] {
    chosen = [group, reason](CommandContext& context) {
      return RunForget(context, *group, *reason);
    };
  });
  const auto groups = std::make_shared<std::vector<std::string>>();
  const auto share = std::make_shared<std::uint32_t>(1);
  CLI::App* verify = Add(app, options, "verify", "Read everything again and find damage",
                         "holdfast verify --share 7   # a seventh of the packs each day", false);
  verify->add_option("groups", *groups, "Only these groups (default: all)");
  verify->add_option("--share", *share, "Read one N-th of the packs, another one each time")
      ->check(CLI::Range(1, 10'000));
  verify->callback([groups, share, &chosen] {
    chosen = [groups, share](CommandContext& context) {
      return RunVerify(context, *groups, *share);
    };
  });
  CLI::App* catalog = app.add_subcommand("catalog", "Care for the catalog");
  catalog->require_subcommand(1);
  CLI::App* rebuild =
      Add(*catalog, options, "rebuild", "Write the catalog's groups anew from the repository",
          "holdfast catalog rebuild", true);
  rebuild->callback([&chosen] { chosen = RunRebuild; });
}

}  // namespace

void AddCommands(CLI::App& app, CommonOptions& options, Command& chosen) {
  app.require_subcommand(1);
  app.set_version_flag("--version", "holdfast " + Version());
  Add(app, options, "init", "Make a repository", "holdfast init", true)->callback([&chosen] {
    chosen = RunInit;
  });
  Add(app, options, "check", "Check configuration, reachability, rights and the store",
      "holdfast check", false)
      ->callback([&chosen] { chosen = RunCheck; });
  const auto against = std::make_shared<std::string>();
  CLI::App* topology =
      Add(app, options, "topology", "Show the cluster as it is now",
          "holdfast topology --against latest   # 3: something would be given up", false);
  topology->add_option("--against", *against,
                       "Compare with a group: what a restore now would have to give up");
  topology->callback([against, &chosen] {
    chosen = [against](CommandContext& context) { return RunTopology(context, *against); };
  });
  AddBackup(app, options, chosen);
  AddReaders(app, options, chosen);
  AddRestore(app, options, chosen);
  AddRebalance(app, options, chosen);
  AddReshard(app, options, chosen);
  AddJobs(app, options, chosen);
  AddKeepers(app, options, chosen);
  CLI::App* version = Add(app, options, "version", "Print the version", "holdfast version", false);
  version->callback([&chosen, &options] {
    options.no_configuration = true;
    chosen = [](CommandContext& context) -> Result<int> {
      context.output.Line("holdfast " + Version());
      context.output.Result("complete", {{"version", Version()}});
      return kExitDone;
    };
  });
  // Handled before parsing, because its arguments are the sandbox's own.
  app.add_subcommand("sandbox",
                     "A local cluster for trying things out: up, down, status, kill, "
                     "start (holdfast sandbox --help)");
}

Error RunSandbox(const std::vector<std::string>& arguments) {
  namespace fs = std::filesystem;
  const char* set = std::getenv("HOLDFAST_SANDBOX");
  std::error_code failed;
  fs::path folder = set != nullptr ? fs::path(set) : fs::path();
  // Beside the program's own source tree: build/<preset>/…/holdfast -> sandbox/.
  for (fs::path at = fs::read_symlink("/proc/self/exe", failed).parent_path();
       folder.empty() && at.has_relative_path(); at = at.parent_path()) {
    if (fs::exists(at / "sandbox" / "holdfast_sandbox", failed)) folder = at / "sandbox";
  }
  if (folder.empty()) {
    return Error(ErrorCode::kNotFound, "the sandbox is not part of this installation",
                 "run it from a source tree, or set HOLDFAST_SANDBOX to its folder");
  }
  const char* python = std::getenv("HOLDFAST_PYTHON");
  const char* cache = std::getenv("HOLDFAST_CACHE");
  const char* home = std::getenv("HOME");
  fs::path interpreter = python != nullptr  ? fs::path(python)
                         : cache != nullptr ? fs::path(cache) / "venv" / "bin" / "python3"
                                            : fs::path(home == nullptr ? "" : home) /
                                                  ".cache/holdfast/venv/bin/python3";
  if (!fs::exists(interpreter, failed)) interpreter = "python3";
  ::setenv("PYTHONPATH", folder.c_str(), 1);
  std::vector<std::string> words{interpreter.string(), "-m", "holdfast_sandbox"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  ::execvp(pointers[0], pointers.data());
  return Error(ErrorCode::kFailedPrecondition,
               "start " + interpreter.string() + ": " + std::strerror(errno),
               "run ./dev setup once");
}

}  // namespace holdfast
