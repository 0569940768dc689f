#include "ops/backup_op.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "ops/leftovers.h"
#include "ops/observe.h"
#include "ops/witnesses.h"

namespace holdfast {
namespace {

constexpr Duration kWaitPoll = std::chrono::seconds(1);

bool IsAttachmentName(std::string_view name) {
  return !name.empty() && name.size() <= 100 && name.front() != '.' &&
         std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '.';
         });
}

/// A local file, read from front to back.
class FileSource final : public ByteSource {
 public:
  static Result<FileSource> Open(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) {
      return Error(ErrorCode::kInvalidArgument,
                   "cannot read attachment " + path + ": " + std::strerror(errno));
    }
    return FileSource(file, path);
  }
  FileSource(FileSource&& other) noexcept
      : file_(std::exchange(other.file_, -1)), path_(std::move(other.path_)) {}
  FileSource& operator=(FileSource&&) = delete;
  ~FileSource() override {
    if (file_ >= 0) ::close(file_);
  }
  Result<std::size_t> Read(const CallContext&, std::span<std::byte> into) override {
    for (;;) {
      const ssize_t got = ::read(file_, into.data(), into.size());
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno != EINTR) {
        return Error(ErrorCode::kUnavailable, "read " + path_ + ": " + std::strerror(errno));
      }
    }
  }

 private:
  FileSource(int file, std::string path) : file_(file), path_(std::move(path)) {}
  int file_;
  std::string path_;
};

std::set<std::string> NamesOf(const std::vector<std::string>& names) {
  return {names.begin(), names.end()};
}

}  // namespace

/// Everything one run gathers.
struct BackupOp::Attempt {
  GroupId group;
  WallTime begun_at{};
  MonotonicTime zero{};
  BackupPreview seen;
  std::unique_ptr<Intent> intent;
  std::unique_ptr<GroupWriter> writer;
  std::unique_ptr<StagedJournal> staged;
  /// Shards of the collections taken so far, with their instants.
  std::map<std::string, CollectionRecord> records;
  std::vector<CapturedShard> shards;
  std::vector<Attachment> attachments;
  std::vector<std::string> warnings;
  MonotonicTime first_request{};
  MonotonicTime last_first_byte{};
  bool all_fenced = true;
  bool below_asked = false;
};

BackupOp::BackupOp(BackupParts parts, BackupOptions options)
    : parts_(parts), options_(std::move(options)) {}

Result<BackupPreview> BackupOp::ObserveAndPlan(const CallContext& call,
                                               const BackupRequest& request) {
  const MonotonicTime until = parts_.clock.Monotonic() + options_.wait;
  for (;;) {
    HF_TRY(Topology topology, parts_.engine.ReadTopology(call));
    HF_TRY(const auto facts,
           ReadFacts(call, parts_.engine, parts_.clock, topology, NamesOf(request.collections)));
    auto plan = PlanBackup(topology, facts, parents_, request);
    if (plan.ok()) {
      return BackupPreview{.topology = std::move(topology), .plan = *std::move(plan)};
    }
    const bool may_pass = plan.error().code() == ErrorCode::kBusy;
    if (!may_pass || parts_.clock.Monotonic() >= until) return std::move(plan).error();
    HF_RETURN_IF_ERROR(parts_.clock.SleepFor(call, kWaitPoll));
  }
}

Result<BackupPreview> BackupOp::Preview(const CallContext& call) {
  HF_RETURN_IF_ERROR(ReadParents(call));
  return ObserveAndPlan(call, options_.request);
}

Status BackupOp::ReadParents(const CallContext& call) {
  HF_TRY(std::vector<GroupInfo> groups, parts_.repository.ListGroups(call));
  std::ranges::reverse(groups);
  for (const GroupInfo& info : groups) {
    if (parent_groups_.size() == kParentsMax) break;
    const auto envelope = parts_.repository.ReadManifest(call, info.group);
    if (!envelope.ok()) {
      // A damaged parent is verify's business, and one may be pruned between the two calls: this
      // backup stores its blocks again.
      const ErrorCode code = envelope.error().code();
      if (code == ErrorCode::kDataLoss || code == ErrorCode::kNotFound) continue;
      return envelope.error();
    }
    parent_groups_.push_back(info.group);
    for (const ImageRef& image : envelope->images) {
      ParentKey key;
      PeerId peer;
      if (!ParseImageLabel(image.label, key, peer)) continue;
      parents_.try_emplace(std::move(key), ParentImage{.peer = peer, .tar_bytes = image.bytes});
    }
  }
  return {};
}

Result<BackupOutcome> BackupOp::Run(StepContext& context) {
  const CallContext& call = context.call();
  for (const AttachmentSource& source : options_.attachments) {
    if (!IsAttachmentName(source.name)) {
      return Error(ErrorCode::kInvalidArgument, "'" + source.name + "' is no attachment name",
                   "use letters, digits, '-', '_' and '.', at most 100");
    }
    HF_RETURN_IF_ERROR([&]() -> Status {
      HF_TRY(const FileSource readable, FileSource::Open(source.path));
      return {};
    }());
  }
  context.progress().BeginPhase("observe");
  Attempt attempt;
  attempt.begun_at = parts_.clock.Wall();
  attempt.zero = parts_.clock.Monotonic();
  HF_RETURN_IF_ERROR(RemoveLeftovers(context));
  HF_RETURN_IF_ERROR(ReadParents(call));
  HF_TRY(attempt.seen, ObserveAndPlan(call, options_.request));
  HF_RETURN_IF_ERROR(
      parts_.engine.CheckRights(call, Purpose::kBackup, attempt.seen.plan.collections));
  attempt.warnings = attempt.seen.plan.warnings;
  attempt.group = options_.writer.group = MakeGroupId(attempt.begun_at, parts_.random.Next());
  HF_RETURN_IF_ERROR(context.SetSubject(attempt.group.value()));
  HF_RETURN_IF_ERROR(context.SavePlan(BackupPlanToJson(attempt.seen.plan)));

  HF_TRY(const auto broken, parts_.repository.ListBrokenAttempts(call));
  std::vector<GroupId> relies_on = parent_groups_;
  for (auto it = broken.rbegin(); it != broken.rend() && relies_on.size() < 2 * kParentsMax; ++it) {
    options_.writer.broken_attempts.push_back(it->group);
    relies_on.push_back(it->group);
  }
  options_.writer.parents = parent_groups_;
  HF_TRY(attempt.intent,
         Intent::Declare(call, parts_.repository,
                         {.purpose = "backup", .own = attempt.group, .relies_on = relies_on}));
  HF_TRY(attempt.writer, GroupWriter::Begin(call, parts_.repository, *attempt.intent, parts_.pool,
                                            options_.writer));
  auto outcome = Take(context, attempt);
  // From here on "nothing was changed, try later" would be wrong.
  if (!outcome.ok() && (outcome.error().code() == ErrorCode::kUnavailable ||
                        outcome.error().code() == ErrorCode::kBusy)) {
    return std::move(outcome).error().As(ErrorCode::kAborted);
  }
  return outcome;
}

Result<BackupOutcome> BackupOp::Take(StepContext& context, Attempt& attempt) {
  const CallContext& call = context.call();
  attempt.staged = NewStagedJournal(context);
  HF_RETURN_IF_ERROR(StoreAttachments(call, attempt));
  context.progress().BeginPhase("capture");
  for (std::uint32_t wave = 0; wave < attempt.seen.plan.waves; ++wave) {
    HF_RETURN_IF_ERROR(TakeWave(context, attempt, wave));
  }
  context.progress().BeginPhase("commit");
  HF_RETURN_IF_ERROR(WriteRecords(call, attempt));
  // The manifest says how many bytes were stored, so they must be.
  HF_RETURN_IF_ERROR(attempt.writer->Flush(call));
  BackupOutcome outcome;
  outcome.manifest = MakeManifest(attempt);
  outcome.first_request = attempt.first_request;
  outcome.last_first_byte = attempt.last_first_byte;
  outcome.below_asked = attempt.below_asked || !outcome.manifest.skipped.empty();
  HF_RETURN_IF_ERROR(attempt.writer->Commit(call, ManifestToJson(outcome.manifest)));
  outcome.manifest.bytes_stored = attempt.writer->stats().bytes_stored;
  if (const Status released = attempt.intent->Release(call); !released.ok()) {
    context.Warn("the intent note stays for a week: " + released.error().message());
  }
  return outcome;
}

Status BackupOp::RemoveLeftovers(StepContext& context) {
  HF_TRY(const auto warnings, RemoveStagedLeftovers(context.call(), parts_.jobs, parts_.engine,
                                                    options_.cluster, context.job()));
  for (const std::string& warning : warnings) context.Warn(warning);
  return {};
}

Status BackupOp::StoreAttachments(const CallContext& call, Attempt& attempt) {
  for (const AttachmentSource& source : options_.attachments) {
    HF_TRY(FileSource content, FileSource::Open(source.path));
    HF_TRY(const ImageRef file,
           attempt.writer->PutFile(call, "attachment/" + source.name, content));
    attempt.attachments.push_back(
        {.name = source.name, .file = file.key, .bytes = file.bytes, .sha256 = ToHex(file.sha256)});
  }
  return {};
}

/// The steps of a wave and the collections as they are now. A second try observes and plans anew:
/// shards may have moved.
Result<WaveRequest> BackupOp::PrepareWave(const CallContext& call, Attempt& attempt,
                                          std::uint32_t wave, bool again) {
  WaveRequest request;
  request.fence = options_.fence;
  if (again) {
    BackupRequest narrowed = options_.request;
    narrowed.collections.clear();
    narrowed.skip_unhealthy = false;
    for (const CaptureStep& step : attempt.seen.plan.steps) {
      if (step.wave == wave) narrowed.collections.push_back(step.collection);
    }
    HF_TRY(BackupPreview now, ObserveAndPlan(call, narrowed));
    std::erase_if(attempt.seen.plan.steps,
                  [&](const CaptureStep& step) { return step.wave == wave; });
    for (CaptureStep& step : now.plan.steps) {
      step.wave = wave;
      attempt.seen.plan.steps.push_back(step);
    }
    attempt.seen.topology = std::move(now.topology);
  }
  for (const CaptureStep& step : attempt.seen.plan.steps) {
    if (step.wave != wave) continue;
    request.steps.push_back(step);
    request.collections.try_emplace(step.collection,
                                    *attempt.seen.topology.FindCollection(step.collection));
  }
  return request;
}

Status BackupOp::TakeWave(StepContext& context, Attempt& attempt, std::uint32_t wave) {
  const CallContext& call = context.call();
  const CaptureTools tools{.engine = parts_.engine,
                           .writer = *attempt.writer,
                           .clock = parts_.clock,
                           .progress = context.progress()};
  for (int tries = 1;; ++tries) {
    HF_TRY(WaveRequest request, PrepareWave(call, attempt, wave, tries > 1));
    for (const CaptureStep& step : request.steps) {
      context.progress().Expect(std::to_string(step.sources.front().value()), step.predicted_bytes,
                                1);
    }
    std::map<std::string, std::vector<CaptureStep>> steps_of;
    for (const CaptureStep& step : request.steps) steps_of[step.collection].push_back(step);
    std::map<std::string, Witnesses> witnesses;
    MonotonicTime witnessed_at{};
    request.before_cut = [&](const CallContext& inner) -> Status {
      witnessed_at = parts_.clock.Monotonic();
      for (const auto& [name, collection] : request.collections) {
        HF_TRY(witnesses[name],
               ChooseWitnesses(inner, parts_.engine, parts_.random, collection, steps_of[name]));
      }
      return {};
    };
    request.after_cut = [&](const CallContext& inner) -> Status {
      if (wave + 1 == attempt.seen.plan.waves) context.OutliveCatalog();
      for (const auto& [name, collection] : request.collections) {
        HF_TRY(witnesses[name],
               ConfirmWitnesses(inner, parts_.engine, collection, steps_of[name], witnesses[name]));
      }
      return {};
    };
    HF_TRY(WaveResult result, CaptureWave(call, tools, options_.capture, *attempt.staged, request));
    bool fatal = false;
    const std::string shortfall = Shortfall(attempt, result, fatal);
    if (!shortfall.empty() && tries < kWaveAttempts) {
      context.Warn(shortfall + "; taken again");
      continue;
    }
    if (!shortfall.empty() && fatal) {
      return Error(ErrorCode::kAborted,
                   shortfall + " (after " + std::to_string(tries) + " attempts)",
                   "back up when less is going on, or ask for less");
    }
    if (!shortfall.empty()) {
      attempt.warnings.push_back(shortfall);
      attempt.below_asked = true;
    }
    for (const auto& [name, collection] : request.collections) {
      CollectionRecord& record = attempt.records[name];
      record.collection = collection;
      record.samples = std::move(witnesses[name].samples);
      record.queries = std::move(witnesses[name].queries);
      record.witnesses_proven = QuietSince(request, result, name, witnessed_at);
      if (record.queries.empty() && collection.points > 0) {
        attempt.warnings.push_back("no golden query of '" + name +
                                   "' had the same answer before and after the cut");
      }
    }
    return KeepWave(call, attempt, request, std::move(result));
  }
}

/// Nothing was written to a collection between `since` and the cuts of all its shards.
bool BackupOp::QuietSince(const WaveRequest& request, const WaveResult& result,
                          const std::string& collection, MonotonicTime since) {
  for (std::size_t i = 0; i < request.steps.size(); ++i) {
    const auto& quiet = result.shards[i].quiet_since;
    if (request.steps[i].collection == collection && (!quiet || *quiet > since)) return false;
  }
  return true;
}

/// What this wave lacks of what was asked; `fatal` when the backup must not go on with it.
std::string BackupOp::Shortfall(const Attempt& attempt, const WaveResult& result,
                                bool& fatal) const {
  fatal = true;
  if (!result.changes.empty()) {
    return "while the shards were taken, " + result.changes.front() +
           (result.changes.size() > 1
                ? " (and " + std::to_string(result.changes.size() - 1) + " more)"
                : "");
  }
  if (options_.fence != nullptr && !result.fenced) {
    fatal = false;
    return "the fence did not hold: " + result.fence_trouble;
  }
  if (!options_.max_skew || attempt.seen.plan.waves > 1 || result.shards.empty()) return {};
  const auto by_begin = [](const CapturedShard& a, const CapturedShard& b) {
    return a.begin < b.begin;
  };
  const auto by_end = [](const CapturedShard& a, const CapturedShard& b) { return a.end < b.end; };
  const Duration skew = std::ranges::max_element(result.shards, by_end)->end -
                        std::ranges::min_element(result.shards, by_begin)->begin;
  if (skew <= *options_.max_skew) return {};
  return "the skew was " + FormatDuration(skew) + ", more than --max-skew " +
         FormatDuration(*options_.max_skew);
}

Status BackupOp::KeepWave(const CallContext& call, Attempt& attempt, const WaveRequest& request,
                          WaveResult result) {
  attempt.all_fenced = attempt.all_fenced && result.fenced;
  std::ranges::move(result.warnings, std::back_inserter(attempt.warnings));
  for (std::size_t i = 0; i < result.shards.size(); ++i) {
    CapturedShard& shard = result.shards[i];
    CollectionRecord& record = attempt.records[request.steps[i].collection];
    if (record.layout_json.empty()) {
      HF_TRY(record.layout_json, parts_.engine.LayoutOf(record.collection));
    }
    // What would be refused before a restore must not be listed as complete.
    if (const Status fits = parts_.engine.CheckLayout(shard.image.layout_json, record.layout_json);
        !fits.ok()) {
      return fits.error()
          .While("the image of shard " + std::to_string(shard.image.shard.value()) + " of '" +
                 record.collection.name + "' does not fit its own collection")
          .As(ErrorCode::kDataLoss);
    }
    shard.image.cut_begin_us = (shard.begin - attempt.zero).count();
    shard.image.cut_end_us = (shard.end - attempt.zero).count();
    record.shards.push_back(shard.image);
    attempt.shards.push_back(std::move(shard));
  }
  return parts_.clock.Check(call);
}

Status BackupOp::WriteRecords(const CallContext& call, Attempt& attempt) {
  // A collection without shards (custom sharding, no key yet) has no step; it is kept all the same.
  for (const std::string& name : attempt.seen.plan.collections) {
    CollectionRecord& record = attempt.records[name];
    if (!record.collection.name.empty()) continue;
    const Collection* collection = attempt.seen.topology.FindCollection(name);
    if (collection == nullptr) {
      return Error(ErrorCode::kAborted, "'" + name + "' was dropped during the backup");
    }
    record.collection = *collection;
    HF_TRY(record.layout_json, parts_.engine.LayoutOf(record.collection));
  }
  std::uint32_t number = 0;
  for (auto& [name, record] : attempt.records) {
    std::ranges::sort(record.shards, {}, &ShardImage::shard);
    HF_RETURN_IF_ERROR(attempt.writer->PutCollection(call, number++, RecordToJson(record)));
  }
  return {};
}

GroupManifest BackupOp::MakeManifest(Attempt& attempt) {
  GroupManifest manifest;
  manifest.id = attempt.group;
  manifest.cluster = options_.cluster;
  manifest.purpose = options_.purpose;
  manifest.engine = attempt.seen.topology.engine;
  manifest.holdfast_version = options_.holdfast_version;
  manifest.begun_at = attempt.begun_at;
  manifest.waves = attempt.seen.plan.waves;
  manifest.skipped = attempt.seen.plan.skipped;
  manifest.attachments = attempt.attachments;
  MonotonicTime& begin = attempt.first_request = MonotonicTime::max();
  MonotonicTime& end = attempt.last_first_byte = attempt.zero;
  for (const CapturedShard& shard : attempt.shards) {
    begin = std::min(begin, shard.begin);
    end = std::max(end, shard.end);
    manifest.points += shard.image.points_max;
  }
  const Duration since_begin = end - attempt.zero;
  manifest.cut_at = attempt.begun_at + since_begin;
  manifest.skew_us = attempt.shards.empty() ? 0 : (end - begin).count();
  const bool fenced = options_.fence != nullptr && attempt.all_fenced;
  manifest.consistency = manifest.waves > 1 ? Consistency::kBestEffort
                         : fenced           ? Consistency::kFenced
                                            : Consistency::kWindow;
  std::uint32_t number = 0;
  for (const auto& [name, record] : attempt.records) {
    CollectionSummary summary{.name = name,
                              .uuid = record.collection.uuid,
                              .record = number++,
                              .shards = static_cast<std::uint32_t>(record.shards.size()),
                              .points = 0,
                              .tar_bytes = 0,
                              .aliases = record.collection.aliases};
    for (const ShardImage& image : record.shards) {
      summary.points += image.points_max;
      summary.tar_bytes += image.tar_bytes;
    }
    manifest.collections.push_back(std::move(summary));
  }
  manifest.topology = attempt.seen.topology;
  manifest.topology.collections.clear();
  for (std::string& warning : attempt.writer->warnings()) {
    attempt.warnings.push_back(std::move(warning));
  }
  manifest.warnings = attempt.warnings;
  const GroupStats stats = attempt.writer->stats();
  manifest.bytes_read = stats.bytes_read;
  manifest.bytes_new = stats.bytes_new;
  manifest.bytes_stored = stats.bytes_stored;
  manifest.finished_at = parts_.clock.Wall();
  return manifest;
}

}  // namespace holdfast
