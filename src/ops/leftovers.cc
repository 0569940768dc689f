#include "ops/leftovers.h"

#include <map>
#include <mutex>
#include <set>
#include <utility>

namespace holdfast {
namespace {

constexpr std::string_view kPrefix = "staged/";
constexpr std::string_view kRemoved = "/removed";

class StepJournal final : public StagedJournal {
 public:
  explicit StepJournal(StepContext& context) : context_(context) {}

  Status Creating(const StagedNote& note) override {
    const std::string detail = StagedNoteToJson(note);
    std::string key;
    {
      const std::scoped_lock lock(mutex_);
      key = std::string(kPrefix) + std::to_string(next_++);
      keys_[detail] = key;
    }
    return Keep(key, detail);
  }

  Status Removed(const StagedNote& note) override {
    std::string key;
    {
      const std::scoped_lock lock(mutex_);
      key = keys_[StagedNoteToJson(note)];
    }
    return Keep(key + std::string(kRemoved), "");
  }

 private:
  Status Keep(const std::string& key, const std::string& detail) {
    HF_TRY(const std::string kept,
           context_.Step(key, [&](const CallContext&) -> Result<std::string> { return detail; }));
    return {};
  }

  StepContext& context_;
  std::mutex mutex_;
  std::map<std::string, std::string> keys_;
  std::uint64_t next_ = 0;
};

/// Keys of the notes of one job that have no "removed" beside them.
Result<std::vector<std::string>> OpenNotes(const CallContext& call, JobJournal& jobs,
                                           const JobId& job) {
  std::set<std::string> keys;
  std::string after = std::string(kPrefix);
  for (;;) {
    HF_TRY(const auto page, jobs.ListSteps(call, job, kPageRowsMax, after));
    for (const StepRecord& step : page) {
      if (step.key.starts_with(kPrefix)) keys.insert(step.key);
    }
    if (page.size() < kPageRowsMax || !page.back().key.starts_with(kPrefix)) break;
    after = page.back().key;
  }
  std::vector<std::string> open;
  for (const std::string& key : keys) {
    if (!key.ends_with(kRemoved) && !keys.contains(key + std::string(kRemoved))) {
      open.push_back(key);
    }
  }
  return open;
}

}  // namespace

std::unique_ptr<StagedJournal> NewStagedJournal(StepContext& context) {
  return std::make_unique<StepJournal>(context);
}

Result<std::vector<std::string>> RemoveStagedLeftovers(const CallContext& call, JobJournal& jobs,
                                                       ShardSource& source,
                                                       const std::string& cluster,
                                                       const JobId& self) {
  JobFilter filter;
  filter.cluster = cluster;
  filter.kind = "backup";
  HF_TRY(const auto recent, jobs.ListJobs(call, filter, kLeftoverJobsMax, std::nullopt));
  std::vector<StagedNote> notes;
  std::vector<std::string> unreadable;
  for (const JobRecord& job : recent) {
    if (job.id == self) continue;
    HF_TRY(const auto keys, OpenNotes(call, jobs, job.id));
    for (const std::string& key : keys) {
      HF_TRY(const auto step, jobs.FindStep(call, job.id, key));
      if (!step || step->detail_json.empty()) continue;
      auto note = StagedNoteFromJson(step->detail_json);
      if (note.ok()) {
        notes.push_back(*std::move(note));
      } else {
        unreadable.push_back("job " + job.id.value() + ", " + key + ": " + note.error().message());
      }
    }
  }
  // What one note cannot tell apart may be plain when another one's snapshot is gone.
  std::vector<std::string> warnings;
  for (bool progress = true; progress;) {
    progress = false;
    warnings = unreadable;
    std::vector<StagedNote> unsettled;
    for (StagedNote& note : notes) {
      const auto removed = RemoveLeftover(call, source, note);
      if (removed.ok()) {
        progress = progress || *removed;
        continue;
      }
      if (removed.error().code() == ErrorCode::kCancelled) return removed.error();
      warnings.push_back(FormatPeer(note.peer) + ", '" + note.collection +
                         "': " + removed.error().message());
      unsettled.push_back(std::move(note));
    }
    notes = std::move(unsettled);
  }
  return warnings;
}

}  // namespace holdfast
