#include "repo/write/parent_loader.h"

#include <fmt/format.h>

#include "repo/write/group_core.h"
#include "repo/write/image_state.h"

namespace holdfast {

ParentLoader::ParentLoader(GroupCore& core, std::size_t threads) : core_(core) {
  for (std::size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this](const std::stop_token& stop) { Run(stop); });
  }
}

ParentLoader::~ParentLoader() { Stop(); }

void ParentLoader::Stop() noexcept {
  for (std::jthread& thread : threads_) thread.request_stop();
  for (std::jthread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
  const std::scoped_lock lock(mutex_);
  wishes_.clear();
}

void ParentLoader::Request(std::shared_ptr<ImageWriterState> image,
                           std::shared_ptr<ParentImage> parent, std::uint64_t block) {
  const std::scoped_lock lock(mutex_);
  if (!under_way_.emplace(parent.get(), block / kRecordsPerChunk).second) return;
  wishes_.push_back({.image = std::move(image), .parent = std::move(parent), .block = block});
  changed_.notify_one();
}

void ParentLoader::Run(const std::stop_token& stop) {
  const CallContext call{.stop = stop, .deadline = std::nullopt};
  for (;;) {
    Wish wish;
    {
      std::unique_lock lock(mutex_);
      if (!changed_.wait(lock, stop, [&] { return !wishes_.empty(); })) return;
      if (stop.stop_requested()) return;
      wish = std::move(wishes_.front());
      wishes_.pop_front();
    }
    const Status loaded = wish.parent->LoadChunkOf(call, wish.block);
    {
      const std::scoped_lock lock(mutex_);
      under_way_.erase({wish.parent.get(), wish.block / kRecordsPerChunk});
    }
    if (!loaded.ok() && !stop.stop_requested()) {
      wish.parent->Drop();
      core_.Warn(
          fmt::format("an older image of {} could not be read on, its blocks are stored "
                      "again: {}",
                      wish.image->label, loaded.error().message()));
    }
    wish.image->ResumeParked();
  }
}

}  // namespace holdfast
