#include "service/service.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "model/json.h"
#include "ops/points/image_points.h"
#include "service/service_parts.h"
#include "stream/crypto.h"

namespace holdfast {
namespace {

std::string BackupRequestJson(const BackupCommand& command) {
  return json::Dump({{"collections", command.request.collections},
                     {"skip_unhealthy", command.request.skip_unhealthy},
                     {"allow_old", command.request.allow_old}});
}

}  // namespace

Service::Service(Config config, Choices choices, JobObserver* observer)
    : parts_(std::make_unique<Parts>(std::move(config), std::move(choices), observer)) {}

Service::~Service() = default;

std::string Version() { return HOLDFAST_VERSION; }

Result<InitReport> Service::Init(const CallContext& call, bool dry_run) {
  HF_TRY(const RepositoryConfig section, parts_->RepositorySection());
  InitOptions options;
  if (section.encryption == "password") {
    HF_TRY(options.password, ReadSecretFile(section.password_file));
  } else {
    options.sealing = Sealing::kNone;
  }
  InitReport report{.repository_id = {}, .url = section.url, .encryption = section.encryption};
  if (dry_run) {
    const auto there = parts_->Store();
    if (there.ok()) HF_RETURN_IF_ERROR(Repository::CheckFree(call, **there));
    // A folder that is not there yet would be made.
    if (!there.ok() && there.error().code() != ErrorCode::kNotFound) return there.error();
    return report;
  }
  HF_TRY(ObjectStore* const store, parts_->Store(/*create=*/true));
  HF_RETURN_IF_ERROR(Repository::Init(call, *store, options));
  HF_TRY(Repository* const repository, parts_->OpenedRepository(call));
  report.repository_id = repository->id();
  return report;
}

Result<std::vector<CheckFinding>> Service::Check(const CallContext& call) {
  std::vector<CheckFinding> findings;
  const auto add = [&](std::string what, const Status& status) {
    findings.push_back({.what = std::move(what),
                        .ok = status.ok(),
                        .optional = false,
                        .detail = status.ok() ? "" : status.error().ToString()});
    return status.ok();
  };
  const auto engine = parts_->OpenedEngine(call);
  if (add("cluster reachable", engine.ok() ? Status() : Status(engine.error()))) {
    const auto topology = (*engine)->ReadTopology(call);
    if (add("topology", topology.ok() ? Status() : Status(topology.error()))) {
      std::vector<std::string> names;
      for (const Collection& collection : topology->collections) names.push_back(collection.name);
      for (const Peer& peer : topology->peers) {
        findings.push_back(
            {.what = FormatPeer(peer.id),
             .ok = peer.answers,
             .optional = false,
             .detail =
                 peer.answers ? peer.url : peer.trouble + "; is its own address missing in urls?"});
      }
      add("rights for backup", (*engine)->CheckRights(call, Purpose::kBackup, names));
      const Status restore = (*engine)->CheckRights(call, Purpose::kRestore, names);
      findings.push_back({.what = "rights for restore",
                          .ok = restore.ok(),
                          .optional = true,
                          .detail = restore.ok() ? "" : restore.error().ToString()});
    }
  }
  for (const std::string& file : parts_->SecretFiles()) {
    const std::string trouble = WhoElseReads(file);
    if (trouble.empty()) continue;
    findings.push_back({.what = "secret file", .ok = false, .optional = true, .detail = trouble});
  }
  const auto store = parts_->Store();
  if (add("store configured", store.ok() ? Status() : Status(store.error()))) {
    if (parts_->RepositorySection()->read_only) {
      findings.push_back({.what = "store writable",
                          .ok = false,
                          .optional = true,
                          .detail = "configured as read-only: no backup goes there"});
    } else if (const auto probed = ProbeStore(call, **store, parts_->clock(), KernelRandom());
               add("store reachable", probed.ok() ? Status() : Status(probed.error()))) {
      for (const StoreFinding& finding : probed->findings) {
        findings.push_back({.what = "store " + finding.what,
                            .ok = finding.ok,
                            .optional = finding.optional,
                            .detail = finding.detail});
      }
    }
    const auto repository = parts_->OpenedRepository(call);
    add("repository", repository.ok() ? Status() : Status(repository.error()));
  }
  const auto catalog = parts_->OpenedCatalog(call);
  if (add("catalog", catalog.ok() ? Status() : Status(catalog.error()))) {
    const auto info = (*catalog)->Describe(call);
    add("catalog answers", info.ok() ? Status() : Status(info.error()));
    if (info.ok()) findings.back().detail = info->server;
  }
  return findings;
}

Result<Topology> Service::ReadTopology(const CallContext& call) {
  HF_TRY(Engine* const engine, parts_->OpenedEngine(call));
  HF_TRY(Topology topology, engine->ReadTopology(call));
  engine->ReadSizes(call, topology);
  return topology;
}

Result<BackupOptions> Service::MakeBackupOptions(const BackupCommand& command) {
  HF_TRY(const ClusterConfig cluster, parts_->Cluster());
  const BackupConfig& limits = parts_->config().backup;
  BackupOptions options;
  options.cluster = cluster.name;
  options.holdfast_version = Version();
  options.request = command.request;
  options.request.streams_max = limits.streams_max;
  options.request.streams_per_peer_max = limits.streams_per_peer_max;
  options.request.spool_bytes_max = limits.spool_bytes_max;
  options.capture = command.capture;
  options.capture.mode = command.request.mode;
  options.capture.spool_directory = parts_->SpoolDirectory();
  options.writer.spool_directory = parts_->SpoolDirectory();
  options.writer.spool_bytes_max = limits.spool_bytes_max;
  options.writer.upload_threads = limits.upload_threads;
  options.max_skew = command.max_skew;
  options.wait = command.wait;
  options.attachments = command.attachments;
  HF_TRY(options.fence, parts_->OpenedFence());
  return options;
}

Result<BackupPreview> Service::PreviewBackup(const CallContext& call,
                                             const BackupCommand& command) {
  HF_TRY(Engine* const engine, parts_->OpenedEngine(call));
  HF_TRY(Repository* const repository, parts_->OpenedRepository(call));
  HF_TRY(Catalog* const catalog, parts_->OpenedCatalog(call));
  HF_TRY(BackupOptions options, MakeBackupOptions(command));
  return BackupOp({.engine = *engine,
                   .repository = *repository,
                   .jobs = *catalog,
                   .pool = parts_->pool(),
                   .clock = parts_->clock(),
                   .random = parts_->random()},
                  std::move(options))
      .Preview(call);
}

Result<BackupOutcome> Service::Backup(const CallContext& call, const BackupCommand& command) {
  HF_TRY(Engine* const engine, parts_->OpenedEngine(call));
  HF_TRY(Repository* const repository, parts_->OpenedRepository(call));
  HF_TRY(Catalog* const catalog, parts_->OpenedCatalog(call));
  HF_TRY(BackupOptions options, MakeBackupOptions(command));
  HF_TRY(const ClusterConfig cluster, parts_->Cluster());
  BackupOp backup({.engine = *engine,
                   .repository = *repository,
                   .jobs = *catalog,
                   .pool = parts_->pool(),
                   .clock = parts_->clock(),
                   .random = parts_->random()},
                  std::move(options));
  std::optional<BackupOutcome> outcome;
  JobRunner runner(*catalog, *catalog, parts_->clock(), parts_->random(), {}, parts_->observer());
  HF_TRY(const JobReport report,
         runner.Run(call,
                    {.kind = "backup",
                     .cluster = cluster.name,
                     .subject = {},
                     .lease_name = "cluster/" + cluster.name,
                     .request_json = BackupRequestJson(command),
                     .interrupted = InterruptedJobs::kClose,
                     .wait = command.wait},
                    [&](StepContext& context) -> Result<std::string> {
                      const MonotonicTime began = parts_->clock().Monotonic();
                      auto ran = backup.Run(context);
                      if (!ran.ok()) return std::move(ran).error();
                      outcome = *std::move(ran);
                      return BackupOutcomeToJson(*outcome, parts_->clock().Monotonic() - began);
                    }));
  // The group is complete whatever the catalog says; the next listing records it.
  if (!RecordGroup(call, outcome->manifest, false).ok() || !report.recorded) {
    outcome->manifest.warnings.push_back("the catalog could not be told of the group");
  }
  return *std::move(outcome);
}

Result<RestoreOptions> Service::MakeRestoreOptions(const CallContext& call,
                                                   const RestoreCommand& command) {
  HF_TRY(const ClusterConfig cluster, parts_->Cluster());
  RestoreOptions options;
  options.user_stop = call.stop;
  options.request = command.request;
  if (command.resume_job.empty()) {
    HF_TRY(options.group, ResolveGroup(call, command.group, command.at, command.from));
  } else {
    HF_TRY(const JobDetails job, parts_->FindToResume(call, command.resume_job, "restore"));
    HF_TRY(auto request, RestoreRequestFromJson(job.documents.request_json));
    options.group = request.first;
    options.request = std::move(request.second);
  }
  options.request.limits = cluster.peers;
  options.request.first = parts_->config().restore.first;
  options.request.receives_at_once = static_cast<std::uint32_t>(options.shards_at_once);
  HF_TRY(options.copy, MakeImageCopy(call, command.points_per_second));
  options.safety_backup = [this, &call](const std::vector<std::string>& names) {
    return SafetyBackup(call, names);
  };
  return options;
}

Result<ImageCopy> Service::MakeImageCopy(const CallContext& call, std::uint64_t points_per_second) {
  HF_TRY(Repository* const repository, parts_->OpenedRepository(call));
  const Config& config = parts_->config();
  ImagePointsOptions images;
  images.engine.command = config.engine.command;
  images.engine.environment = EngineEnvironment(ProcessEnvironment());
  images.engine.memory_bytes = config.engine.memory_bytes;
  images.scratch_directory = config.restore.scratch_directory.empty()
                                 ? DefaultSpoolDirectory()
                                 : config.restore.scratch_directory;
  images.scratch_bytes_max = config.restore.scratch_bytes_max;
  Clock& clock = parts_->clock();
  ImageCopy copy;
  copy.points_per_second = points_per_second;
  copy.check = [&clock, images](const CallContext& inner) {
    return CheckEngine(inner, clock, images);
  };
  copy.open = [&clock, repository, images](const CollectionRecord& record) {
    return std::make_unique<ImagePoints>(*repository, clock, record.shards, images);
  };
  return copy;
}

/// Runs within the restore's job: the lease of the cluster is held already.
Result<GroupId> Service::SafetyBackup(const CallContext& call,
                                      const std::vector<std::string>& names) {
  HF_TRY(const ClusterConfig cluster, parts_->Cluster());
  HF_TRY(Engine* const engine, parts_->OpenedEngine(call));
  HF_TRY(Repository* const repository, parts_->OpenedRepository(call));
  HF_TRY(Catalog* const catalog, parts_->OpenedCatalog(call));
  BackupCommand command;
  command.request.collections = names;
  HF_TRY(BackupOptions options, MakeBackupOptions(command));
  options.purpose = kSafetyPurpose;
  options.fence = nullptr;  // Nothing writes: the restore has just looked.
  BackupOp backup({.engine = *engine,
                   .repository = *repository,
                   .jobs = *catalog,
                   .pool = parts_->pool(),
                   .clock = parts_->clock(),
                   .random = parts_->random()},
                  std::move(options));
  JobRunner runner(*catalog, *catalog, parts_->clock(), parts_->random(), {}, nullptr);
  std::optional<BackupOutcome> outcome;
  HF_TRY(const JobReport report, runner.Run(call,
                                            {.kind = "backup",
                                             .cluster = cluster.name,
                                             .subject = {},
                                             .lease_name = "cluster/" + cluster.name + "/safety",
                                             .request_json = BackupRequestJson(command),
                                             .interrupted = InterruptedJobs::kClose,
                                             .wait = {}},
                                            [&](StepContext& context) -> Result<std::string> {
                                              auto ran = backup.Run(context);
                                              if (!ran.ok()) return std::move(ran).error();
                                              outcome = *std::move(ran);
                                              return BackupOutcomeToJson(*outcome, {});
                                            }));
  static_cast<void>(RecordGroup(call, outcome->manifest, false).ok());
  return outcome->manifest.id;
}

Result<RestorePreview> Service::PreviewRestore(const CallContext& call,
                                               const RestoreCommand& command) {
  HF_TRY(Engine* const engine, parts_->OpenedEngine(call));
  HF_TRY(Repository* const repository, parts_->OpenedRepository(call));
  HF_TRY(RestoreOptions options, MakeRestoreOptions(call, command));
  return RestoreOp({.engine = *engine, .repository = *repository, .clock = parts_->clock()},
                   std::move(options))
      .Preview(call);
}

Result<RestoreOutcome> Service::Restore(const CallContext& call, const RestoreCommand& command) {
  HF_TRY(Engine* const engine, parts_->OpenedEngine(call));
  HF_TRY(Repository* const repository, parts_->OpenedRepository(call));
  HF_TRY(Catalog* const catalog, parts_->OpenedCatalog(call));
  HF_TRY(const ClusterConfig cluster, parts_->Cluster());
  HF_TRY(RestoreOptions options, MakeRestoreOptions(call, command));
  const GroupId group = options.group;
  const std::string request_json = RestoreRequestToJson(group, options.request);
  RestoreOp restore({.engine = *engine, .repository = *repository, .clock = parts_->clock()},
                    std::move(options));
  std::optional<RestoreOutcome> outcome;
  const JobBody body = [&](StepContext& context) -> Result<std::string> {
    const MonotonicTime began = parts_->clock().Monotonic();
    // Now that the lease is ours: until then a dead run reads as running.
    if (command.resume_job.empty()) {
      HF_RETURN_IF_ERROR(TellOfInterrupted(context, *catalog, cluster.name, "restore"));
    }
    auto ran = restore.Run(context);
    if (!ran.ok()) return AfterChange(std::move(ran).error());
    outcome = *std::move(ran);
    return RestoreOutcomeToJson(*outcome, parts_->clock().Monotonic() - began);
  };
  HF_RETURN_IF_ERROR(parts_->RunOrResume(call, command.resume_job,
                                         {.kind = "restore",
                                          .cluster = cluster.name,
                                          .subject = group.value(),
                                          .lease_name = "cluster/" + cluster.name,
                                          .request_json = request_json,
                                          .interrupted = InterruptedJobs::kKeep,
                                          .wait = command.wait},
                                         body));
  return *std::move(outcome);
}

Result<VerifyReport> Service::VerifyRepository(const CallContext& call,
                                               const VerifyOptions& options,
                                               VerifyObserver* observer) {
  HF_TRY(Repository* const repository, parts_->OpenedRepository(call));
  VerifyOptions with_spool = options;
  with_spool.spool_directory = parts_->SpoolDirectory();
  return Verify(call, *repository, with_spool, observer);
}

}  // namespace holdfast
