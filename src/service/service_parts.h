// What a Service has open. For .cc files only.

#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "job/worker_mark.h"
#include "service/hook_fence.h"
#include "service/parts.h"
#include "service/service.h"
#include "stream/crypto.h"

namespace holdfast {

/// Jobs that wait for a core; what submits more waits.
inline constexpr std::size_t kPoolJobsMax = 64;

/// Seeds the non-secret randomness of this process from the kernel's.
inline std::uint64_t Seed() {
  const auto bytes = KernelRandom().Draw<8>();
  std::uint64_t seed = 0;
  for (const std::byte b : bytes) seed = seed << 8 | std::to_integer<std::uint64_t>(b);
  return seed;
}

/// Opened on first use, closed with the service, in this order of dependence.
class Service::Parts {
 public:
  Parts(Config config, Choices choices, JobObserver* observer)
      : config_(std::move(config)),
        choices_(std::move(choices)),
        observer_(observer),
        random_(Seed()),
        pool_(SystemClock(), std::max(1U, std::thread::hardware_concurrency()), kPoolJobsMax) {}

  const Config& config() const { return config_; }
  const Choices& choices() const { return choices_; }
  Clock& clock() const { return SystemClock(); }
  Random& random() { return random_; }
  CpuPool& pool() { return pool_; }
  JobObserver* observer() const { return observer_; }

  Result<ClusterConfig> Cluster() const { return ChooseCluster(config_, choices_.cluster); }
  Result<RepositoryConfig> RepositorySection() const {
    return ChooseRepository(config_, choices_.repository);
  }

  /// Those that are configured for what was chosen.
  std::vector<std::string> SecretFiles() const {
    std::vector<std::string> files{config_.catalog.password_file};
    if (const auto cluster = Cluster(); cluster.ok()) {
      for (const std::string& file :
           {cluster->read_key_file, cluster->key_file, cluster->manage_key_file}) {
        files.push_back(file);
      }
    }
    if (const auto repository = RepositorySection(); repository.ok()) {
      files.push_back(repository->password_file);
      files.push_back(repository->credentials_file);
    }
    std::erase(files, std::string());
    return files;
  }

  Result<ObjectStore*> Store(bool create = false) {
    if (!store_.store) {
      HF_TRY(const RepositoryConfig section, RepositorySection());
      HF_TRY(store_, OpenStore(section, clock(), random_, create));
    }
    return store_.store.get();
  }
  Result<Repository*> OpenedRepository(const CallContext& call) {
    if (!repository_) {
      HF_TRY(const RepositoryConfig section, RepositorySection());
      HF_TRY(ObjectStore* const store, Store());
      HF_TRY(repository_, OpenRepository(call, section, *store));
    }
    return repository_.get();
  }
  Result<Catalog*> OpenedCatalog(const CallContext& call) {
    if (!catalog_) {
      HF_TRY(catalog_, OpenConfiguredCatalog(call, config_.catalog, clock(), random_));
    }
    return catalog_.get();
  }
  Result<Engine*> OpenedEngine(const CallContext& call) {
    if (!engine_) {
      HF_TRY(const ClusterConfig section, Cluster());
      HF_TRY(engine_, OpenEngine(call, section, clock()));
    }
    return engine_.get();
  }
  Result<Fence*> OpenedFence() {
    HF_TRY(const ClusterConfig section, Cluster());
    if (section.freeze.empty()) return static_cast<Fence*>(nullptr);
    fence_ = std::make_unique<HookFence>(HookFenceOptions{.freeze = section.freeze,
                                                          .thaw = section.thaw,
                                                          .limit = section.fence_limit,
                                                          .program = {},
                                                          .mark = ThisWorkerMark()},
                                         clock());
    return static_cast<Fence*>(fence_.get());
  }

  /// The job that `--resume` names. kNotFound when there is none of that kind; kInvalidArgument
  /// when it is one of another cluster: its steps are recorded as done there, here they would be
  /// left out.
  Result<JobDetails> FindToResume(const CallContext& call, const std::string& id,
                                  std::string_view kind) {
    HF_TRY(const ClusterConfig cluster, Cluster());
    HF_TRY(Catalog* const catalog, OpenedCatalog(call));
    HF_TRY(auto job, catalog->FindJob(call, JobId(id)));
    if (!job || job->record.kind != kind) {
      return Error(ErrorCode::kNotFound, "there is no " + std::string(kind) + " job '" + id + "'",
                   "`holdfast jobs` lists them");
    }
    if (job->record.cluster != cluster.name) {
      return Error(ErrorCode::kInvalidArgument,
                   "job " + id + " is one of cluster '" + job->record.cluster + "', not of '" +
                       cluster.name + "'",
                   "pass --cluster " + job->record.cluster + ", or begin anew without --resume");
    }
    return *std::move(job);
  }
  /// Runs `body` as a new job that `spec` describes, or goes on with job `resume`.
  Status RunOrResume(const CallContext& call, const std::string& resume, const JobSpec& spec,
                     const JobBody& body) {
    HF_TRY(Catalog* const catalog, OpenedCatalog(call));
    JobRunner runner(*catalog, *catalog, clock(), random_, {}, observer_);
    const auto ran = resume.empty() ? runner.Run(call, spec, body)
                                    : runner.Resume(call, JobId(resume), spec.wait, body);
    return ran.ok() ? Status() : Status(ran.error());
  }

  std::string SpoolDirectory() const {
    return config_.backup.spool_directory.empty() ? DefaultSpoolDirectory()
                                                  : config_.backup.spool_directory;
  }

 private:
  const Config config_;
  const Choices choices_;
  JobObserver* observer_;
  Random random_;
  CpuPool pool_;
  OpenedStore store_;
  std::unique_ptr<Repository> repository_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Fence> fence_;
};

/// Interrupted jobs that a new one of their kind tells of, the newest first.
inline constexpr std::size_t kInterruptedTold = 3;

/// After something was changed "try later, nothing was changed" would be a lie.
inline Error AfterChange(Error error) {
  if (error.code() != ErrorCode::kUnavailable && error.code() != ErrorCode::kBusy) return error;
  return std::move(error).As(ErrorCode::kAborted);
}

/// A job that died left something half built behind, which that job alone may go on with.
inline Status TellOfInterrupted(StepContext& context, JobJournal& jobs, const std::string& cluster,
                                const std::string& kind) {
  JobFilter filter;
  filter.cluster = cluster;
  filter.kind = kind;
  filter.state = JobState::kInterrupted;
  HF_TRY(const auto interrupted,
         jobs.ListJobs(context.call(), filter, kInterruptedTold, std::nullopt));
  for (const JobRecord& job : interrupted) {
    context.Warn("a " + kind + " of " + job.subject + " was interrupted; `holdfast " + kind +
                 " --resume " + job.id.value() + "` goes on with it");
  }
  return {};
}

}  // namespace holdfast
