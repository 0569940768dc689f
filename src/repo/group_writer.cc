#include "repo/group_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "base/assert.h"
#include "model/group.h"
#include "repo/format/document.h"
#include "repo/format/group_json.h"
#include "repo/intent.h"
#include "repo/repository.h"
#include "repo/write/group_core.h"
#include "repo/write/image_state.h"
#include "repo/write/packer.h"
#include "repo/write/sources.h"
#include "store/object_store.h"

namespace holdfast {
namespace {

constexpr std::size_t kImageRandomBytes = 8;
constexpr std::size_t kCopyBytes = 256 * 1024;

std::vector<GroupId> OnlyReliedOn(const std::vector<GroupId>& groups, const Intent& intent) {
  std::vector<GroupId> out;
  std::ranges::copy_if(groups, std::back_inserter(out),
                       [&](const GroupId& group) { return intent.RelyOn(group); });
  return out;
}

}  // namespace

SpoolLease::SpoolLease(SpoolLease&& other) noexcept
    : room_(std::exchange(other.room_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

SpoolLease& SpoolLease::operator=(SpoolLease&& other) noexcept {
  if (this == &other) return *this;
  if (room_ != nullptr) room_->Give(bytes_);
  room_ = std::exchange(other.room_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

SpoolLease::~SpoolLease() {
  if (room_ != nullptr) room_->Give(bytes_);
}

struct GroupWriter::State {
  State(Repository& repository_in, const Intent& intent_in, CpuPool& pool,
        GroupWriterOptions options)
      : repository(repository_in),
        intent(intent_in),
        core(repository_in, pool, std::move(options)),
        sources(core) {}

  Result<std::shared_ptr<ImageWriterState>> NewImage(const CallContext& call, ImageOptions options);
  Status Feed(const CallContext& call, ImageWriterState& image, ByteSource& content);
  void ImageEnded(const ImageRef* ref);
  Result<GroupEnvelope> MakeEnvelope(std::string_view body);
  Status PutManifest(const CallContext& call, const GroupEnvelope& envelope);
  Status Flush(const CallContext& call);
  Status Commit(const CallContext& call, std::string_view body);

  Repository& repository;
  const Intent& intent;
  GroupCore core;
  BlockSources sources;

  std::mutex mutex;
  std::size_t images_open = 0;
  std::vector<ImageRef> images;
  std::map<std::uint32_t, RecordRef> records;
  bool ended = false;
};

GroupWriter::GroupWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}

GroupWriter::~GroupWriter() { Abandon(); }

Result<std::unique_ptr<GroupWriter>> GroupWriter::Begin(const CallContext& call,
                                                        Repository& repository,
                                                        const Intent& intent, CpuPool& pool,
                                                        GroupWriterOptions options) {
  if (!IsGroupId(options.group.value())) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("'{}' is no group id", options.group.value()));
  }
  if (intent.note().own != options.group) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("the intent does not name {} as its own", options.group.value()));
  }
  if (options.upload_threads == 0) {
    return Error(ErrorCode::kInvalidArgument, "at least one upload thread is needed");
  }
  options.parents = OnlyReliedOn(options.parents, intent);
  options.broken_attempts = OnlyReliedOn(options.broken_attempts, intent);
  auto state = std::make_unique<State>(repository, intent, pool, std::move(options));
  HF_RETURN_IF_ERROR(state->core.Start());
  HF_RETURN_IF_ERROR(
      state->sources.Load(call, state->core.options.parents, state->core.options.broken_attempts));
  return std::unique_ptr<GroupWriter>(new GroupWriter(std::move(state)));
}

Result<SpoolLease> GroupWriter::ReserveSpool(const CallContext& call, std::uint64_t bytes) {
  HF_RETURN_IF_ERROR(state_->core.status());
  const BoundCall bound(call, state_->core);
  HF_RETURN_IF_ERROR(state_->core.Explain(state_->core.room.Take(bound.call(), bytes)));
  SpoolLease lease;
  lease.room_ = &state_->core.room;
  lease.bytes_ = bytes;
  return lease;
}

void GroupWriter::State::ImageEnded(const ImageRef* ref) {
  const std::scoped_lock lock(mutex);
  --images_open;
  if (ref != nullptr) images.push_back(*ref);
}

Result<std::shared_ptr<ImageWriterState>> GroupWriter::State::NewImage(const CallContext& call,
                                                                       ImageOptions options) {
  HF_RETURN_IF_ERROR(core.status());
  if (options.label.empty()) return Error(ErrorCode::kInvalidArgument, "an image needs a label");
  HF_TRY(auto parents, sources.ParentsOf(call, options.label));
  const auto chance = repository.random().Draw<kImageRandomBytes>();
  const std::string key = ImageKey(
      core.options.group,
      repository.keys().ImagePrefix(core.options.group, options.label) + ToHex(ByteView(chance)));
  auto image = std::make_shared<ImageWriterState>(core, std::move(options.label), key,
                                                  std::move(options.room), options.when_full,
                                                  std::move(parents));
  image->on_end = [this](const ImageRef* ref) { ImageEnded(ref); };
  const std::scoped_lock lock(mutex);
  if (ended) return Error(ErrorCode::kFailedPrecondition, "the group is closed");
  ++images_open;
  return image;
}

Result<std::unique_ptr<ImageWriter>> GroupWriter::BeginImage(const CallContext& call,
                                                             ImageOptions options) {
  HF_TRY(auto image, state_->NewImage(call, std::move(options)));
  return std::unique_ptr<ImageWriter>(new ImageWriter(std::move(image)));
}

Result<ImageRef> GroupWriter::PutFile(const CallContext& call, std::string_view label,
                                      ByteSource& content) {
  HF_TRY(auto image,
         state_->NewImage(call,
                          {.label = std::string(label), .room = {}, .when_full = WhenFull::kWait}));
  // Ends the image on every way out.
  const ImageWriter writer(image);
  const BoundCall bound(call, state_->core);
  HF_RETURN_IF_ERROR(image->BeginFile({}, std::string(label), 0));
  Sha256 sha256;
  std::uint64_t size = 0;
  Bytes buffer(kCopyBytes);
  for (;;) {
    HF_TRY(const std::size_t got, content.Read(bound.call(), buffer));
    if (got == 0) break;
    const ByteView piece = ByteView(buffer).first(got);
    sha256.Update(piece);
    HF_RETURN_IF_ERROR(state_->core.Explain(image->Data(bound.call(), size, piece)));
    size += got;
  }
  image->SetRealSize(size);
  HF_RETURN_IF_ERROR(state_->core.Explain(image->EndFile(bound.call(), {})));
  auto ref = image->Finish(bound.call(), 0, size, sha256.Finish(), "");
  if (!ref.ok()) return state_->core.Explain(std::move(ref).error()).error();
  image->on_end(&*ref);
  return ref;
}

Status GroupWriter::PutCollection(const CallContext&, std::uint32_t number, std::string_view json) {
  GroupCore& core = state_->core;
  HF_RETURN_IF_ERROR(core.status());
  const std::string key = RecordKey(core.options.group, number);
  HF_TRY(Bytes document,
         SealDocument(core.repository.keys(), core.repository.random(), key, AsBytes(json)));
  {
    const std::scoped_lock lock(state_->mutex);
    const bool is_new = state_->records
                            .try_emplace(number, RecordRef{.number = number,
                                                           .bytes = json.size(),
                                                           .sha256 = Sha256Of(AsBytes(json))})
                            .second;
    if (!is_new) {
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("collection record {} was handed in before", number));
    }
  }
  const auto put =
      core.outbox->PutDocument(key, std::move(document), core.outbox->last_number(), {});
  if (!put.ok()) return core.Explain(put.error());
  return {};
}

Result<GroupEnvelope> GroupWriter::State::MakeEnvelope(std::string_view body) {
  GroupEnvelope envelope;
  envelope.group = core.options.group;
  envelope.borrows_from = core.borrowed.Attempts();
  envelope.body = std::string(body);
  const std::scoped_lock lock(mutex);
  if (images_open > 0) {
    return Error(ErrorCode::kFailedPrecondition,
                 fmt::format("{} images are neither finished nor abandoned", images_open));
  }
  if (ended) return Error(ErrorCode::kFailedPrecondition, "the group is closed already");
  ended = true;
  for (const auto& [number, record] : records) envelope.records.push_back(record);
  envelope.images = images;
  return envelope;
}

Status GroupWriter::State::PutManifest(const CallContext& call, const GroupEnvelope& envelope) {
  const std::string key = ManifestKey(envelope.group);
  HF_TRY(const std::string text, WriteManifest(repository.keys().repository(), envelope));
  HF_TRY(const Bytes document,
         SealDocument(repository.keys(), repository.random(), key, AsBytes(text)));
  const Status put = repository.store().Put(call, key, document, PutMode::kIfAbsent);
  core.manifest_bytes += document.size();
  if (put.ok()) return {};
  // The put may have taken effect all the same: only we write this key, so what is there is ours.
  const auto stored = repository.store().Get(call, key);
  if (stored.ok() && *stored == document) return {};
  return put.error().While("write the manifest");
}

Status GroupWriter::State::Flush(const CallContext& call) {
  HF_RETURN_IF_ERROR(core.packer->WaitUntilPacked(call));
  core.packer->RequestFlush();
  HF_RETURN_IF_ERROR(core.packer->WaitUntilPacked(call));
  return core.outbox->WaitUntilDurable(call);
}

Status GroupWriter::State::Commit(const CallContext& call, std::string_view body) {
  HF_RETURN_IF_ERROR(core.status());
  HF_TRY(const GroupEnvelope envelope, MakeEnvelope(body));
  HF_RETURN_IF_ERROR(Flush(call));
  HF_RETURN_IF_ERROR(core.borrowed.CheckPresent(call, repository.store()));
  HF_RETURN_IF_ERROR(intent.Check());
  return PutManifest(call, envelope);
}

Status GroupWriter::Flush(const CallContext& call) {
  const BoundCall bound(call, state_->core);
  HF_RETURN_IF_ERROR(state_->core.status());
  return state_->core.Explain(state_->Flush(bound.call()));
}

Status GroupWriter::Commit(const CallContext& call, std::string_view body_json) {
  Status committed;
  {
    const BoundCall bound(call, state_->core);
    committed = state_->core.Explain(state_->Commit(bound.call(), body_json));
  }
  if (committed.ok())
    state_->core.Stop(Error(ErrorCode::kFailedPrecondition, "the group is closed"));
  return committed;
}

void GroupWriter::Abandon() noexcept {
  {
    const std::scoped_lock lock(state_->mutex);
    state_->ended = true;
  }
  state_->core.Stop(Error(ErrorCode::kCancelled, "the attempt was abandoned"));
}

GroupStats GroupWriter::stats() const {
  const GroupCore& core = state_->core;
  const OutboxStats outbox = core.outbox->stats();
  GroupStats stats;
  stats.bytes_read = core.bytes_read.load();
  stats.bytes_new = core.bytes_new.load();
  stats.bytes_stored = outbox.bytes + core.manifest_bytes.load();
  stats.blocks = core.blocks.load();
  stats.blocks_known = core.blocks_known.load();
  stats.packs = core.packs.load();
  stats.spool_bytes = outbox.spool_bytes;
  stats.spool_bytes_top = outbox.spool_bytes_top;
  const std::scoped_lock lock(state_->mutex);
  stats.images = state_->images.size();
  return stats;
}

const GroupId& GroupWriter::group() const noexcept { return state_->core.options.group; }

std::vector<std::string> GroupWriter::warnings() const { return state_->core.warnings(); }

}  // namespace holdfast
