#include "repo/write/outbox.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/assert.h"
#include "exec/wait.h"
#include "store/object_store.h"

namespace holdfast {

Outbox::Outbox(ObjectStore& store, Clock& clock, const OutboxOptions& options,
               std::function<void(const Error&)> on_failure)
    : store_(store), clock_(clock), options_(options), on_failure_(std::move(on_failure)) {
  // Empty ones cost nothing until they are filled.
  free_buffers_.resize(options.buffers);
}

Result<std::unique_ptr<Outbox>> Outbox::Start(ObjectStore& store, Clock& clock,
                                              const OutboxOptions& options,
                                              std::function<void(const Error&)> on_failure) {
  HF_ASSERT(options.threads >= 1 && options.buffers >= 3);
  std::unique_ptr<Outbox> outbox(new Outbox(store, clock, options, std::move(on_failure)));
  if (!options.spool_directory.empty() && options.spool_bytes_max > 0) {
    HF_TRY(outbox->spool_, SpoolFile::Create(options.spool_directory, options.spool_bytes_max));
  }
  Outbox* self = outbox.get();
  for (std::size_t i = 0; i < options.threads; ++i) {
    self->threads_.emplace_back([self](const std::stop_token& stop) { self->Upload(stop); });
  }
  if (self->spool_) {
    self->threads_.emplace_back([self](const std::stop_token& stop) { self->Spool(stop); });
  }
  return outbox;
}

Outbox::~Outbox() { Stop(); }

void Outbox::Stop() noexcept {
  {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
    if (!error_) error_ = Error(ErrorCode::kCancelled, "the attempt was abandoned");
    changed_.notify_all();
  }
  for (std::jthread& thread : threads_) thread.request_stop();
  for (std::jthread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void Outbox::Fail(Error error) {
  {
    const std::scoped_lock lock(mutex_);
    if (error_) return;
    error_ = error;
    changed_.notify_all();
  }
  on_failure_(error);
}

Status Outbox::status() const {
  const std::scoped_lock lock(mutex_);
  if (error_) return *error_;
  return {};
}

OutboxStats Outbox::stats() const {
  const std::scoped_lock lock(mutex_);
  OutboxStats stats = stats_;
  stats.spool_bytes = spool_ ? spool_->bytes() : 0;
  return stats;
}

Result<Bytes> Outbox::TakeBuffer(const CallContext& call) {
  Bytes buffer;
  {
    std::unique_lock lock(mutex_);
    ++buffer_waiters_;
    changed_.notify_all();
    const Status waited =
        WaitUntil(call, clock_, changed_, lock, [&] { return error_ || !free_buffers_.empty(); });
    --buffer_waiters_;
    // A pack in the spool goes on only when nobody waits for a buffer.
    changed_.notify_all();
    HF_RETURN_IF_ERROR(waited);
    if (error_) return *error_;
    buffer = std::move(free_buffers_.back());
    free_buffers_.pop_back();
  }
  buffer.clear();
  buffer.reserve(options_.buffer_bytes);
  return buffer;
}

void Outbox::GiveBuffer(Bytes buffer) {
  const std::scoped_lock lock(mutex_);
  free_buffers_.push_back(std::move(buffer));
  changed_.notify_all();
}

ObjectNumber Outbox::Announce() {
  const std::scoped_lock lock(mutex_);
  outstanding_.insert(++last_number_);
  return last_number_;
}

void Outbox::Withdraw(ObjectNumber number) {
  const std::scoped_lock lock(mutex_);
  outstanding_.erase(number);
  changed_.notify_all();
}

ObjectNumber Outbox::last_number() const {
  const std::scoped_lock lock(mutex_);
  return last_number_;
}

Status Outbox::PutPack(ObjectNumber number, std::string key, Bytes buffer,
                       std::vector<Contribution> contributions) {
  const std::scoped_lock lock(mutex_);
  if (error_) {
    free_buffers_.push_back(std::move(buffer));
    return *error_;
  }
  packs_.push_back({.number = number,
                    .after = 0,
                    .key = std::move(key),
                    .bytes = std::move(buffer),
                    .spooled = std::nullopt,
                    .contributions = std::move(contributions),
                    .is_pack = true});
  changed_.notify_all();
  return {};
}

Result<ObjectNumber> Outbox::PutDocument(std::string key, Bytes document, ObjectNumber after,
                                         std::vector<Contribution> contributions) {
  ObjectNumber number = 0;
  bool blocked = false;
  {
    const std::scoped_lock lock(mutex_);
    if (error_) return *error_;
    number = ++last_number_;
    outstanding_.insert(number);
    document_bytes_ += document.size();
    documents_.emplace(after, Item{.number = number,
                                   .after = after,
                                   .key = std::move(key),
                                   .bytes = std::move(document),
                                   .spooled = std::nullopt,
                                   .contributions = std::move(contributions),
                                   .is_pack = false});
    blocked = document_bytes_ > kDocumentBytesMax;
    changed_.notify_all();
  }
  if (blocked && on_blocked_) on_blocked_();
  return number;
}

Status Outbox::WaitUntilDurable(const CallContext& call) {
  std::unique_lock lock(mutex_);
  HF_RETURN_IF_ERROR(
      WaitUntil(call, clock_, changed_, lock, [&] { return error_ || outstanding_.empty(); }));
  if (error_) return *error_;
  return {};
}

bool Outbox::EligibleLocked(ObjectNumber after) const {
  return outstanding_.empty() || after < *outstanding_.begin();
}

std::optional<Outbox::Item> Outbox::PickLocked() {
  const auto take_document = [&](Documents& from) -> std::optional<Item> {
    if (from.empty() || !EligibleLocked(from.begin()->first)) return std::nullopt;
    return std::move(from.extract(from.begin()).mapped());
  };
  if (auto document = take_document(documents_)) {
    document_bytes_ -= document->bytes.size();
    return document;
  }
  if (auto document = take_document(spooled_documents_)) return document;
  if (!packs_.empty()) {
    std::optional<Item> pack(std::move(packs_.front()));
    packs_.pop_front();
    return pack;
  }
  // A pack in the spool needs a buffer, and whoever fills packs goes first.
  if (!spooled_packs_.empty() && !free_buffers_.empty() && buffer_waiters_ == 0) {
    std::optional<Item> pack(std::move(spooled_packs_.front()));
    spooled_packs_.pop_front();
    pack->bytes = std::move(free_buffers_.back());
    free_buffers_.pop_back();
    return pack;
  }
  return std::nullopt;
}

Status Outbox::PutOne(const CallContext& call, Item& item) {
  if (item.spooled) HF_RETURN_IF_ERROR(spool_->Read(*item.spooled, item.bytes));
  const Status put = store_.Put(call, item.key, ObjectBody(item.bytes), PutMode::kReplace);
  if (!put.ok()) return put.error().While(fmt::format("write {}", item.key));
  return {};
}

void Outbox::Finished(Item item) {
  for (const Contribution& contribution : item.contributions) {
    contribution.account->Settle(contribution.bytes);
  }
  const std::scoped_lock lock(mutex_);
  ++stats_.objects;
  stats_.bytes += item.size();
  if (item.spooled) spool_->Free(*item.spooled);
  if (item.is_pack) free_buffers_.push_back(std::move(item.bytes));
  outstanding_.erase(item.number);
  changed_.notify_all();
}

void Outbox::Upload(const std::stop_token& stop) {
  const CallContext call{.stop = stop, .deadline = std::nullopt};
  for (;;) {
    std::optional<Item> item;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, stop, [&] {
        if (error_) return true;
        item = PickLocked();
        return item.has_value();
      });
      if (!item) return;
    }
    const Status put = PutOne(call, *item);
    if (!put.ok()) {
      Fail(put.error());
      return;
    }
    Finished(*std::move(item));
  }
}

std::optional<Outbox::Item> Outbox::PickForSpoolLocked() {
  // Only when somebody stands still: writing to disk what the store would take now costs twice.
  if (buffer_waiters_ > 0 && free_buffers_.empty() && !packs_.empty() &&
      spool_->HasRoom(packs_.back().bytes.size())) {
    std::optional<Item> pack(std::move(packs_.back()));
    packs_.pop_back();
    return pack;
  }
  if (document_bytes_ > kDocumentBytesMax && !documents_.empty()) {
    const auto last = std::prev(documents_.end());
    if (spool_->HasRoom(last->second.bytes.size())) {
      document_bytes_ -= last->second.bytes.size();
      return std::move(documents_.extract(last).mapped());
    }
  }
  return std::nullopt;
}

void Outbox::Spool(const std::stop_token& stop) {
  for (;;) {
    std::optional<Item> item;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, stop, [&] {
        if (error_) return true;
        item = PickForSpoolLocked();
        return item.has_value();
      });
      if (!item) return;
    }
    const auto piece = spool_->Write(item->bytes);
    if (!piece.ok()) {
      Fail(piece.error());
      return;
    }
    item->spooled = *piece;
    const std::scoped_lock lock(mutex_);
    stats_.spool_bytes_top = std::max(stats_.spool_bytes_top, spool_->bytes());
    if (item->is_pack) {
      free_buffers_.push_back(std::move(item->bytes));
      item->bytes = Bytes();
      spooled_packs_.push_back(*std::move(item));
    } else {
      item->bytes = Bytes();
      const ObjectNumber after = item->after;
      spooled_documents_.emplace(after, *std::move(item));
    }
    changed_.notify_all();
  }
}

}  // namespace holdfast
