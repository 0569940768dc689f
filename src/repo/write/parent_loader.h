// Reads chunks of parents in the background, so that no stream waits for the store.

#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "repo/write/parent_image.h"

namespace holdfast {

class GroupCore;
struct ImageWriterState;

/// Thread-safe.
class ParentLoader {
 public:
  ParentLoader(GroupCore& core, std::size_t threads);
  /// Stop().
  ~ParentLoader();
  ParentLoader(const ParentLoader&) = delete;
  ParentLoader& operator=(const ParentLoader&) = delete;

  /// Reads the chunk of record `block`, unless that is under way, and tells `image`. A parent that
  /// cannot be read is dropped with a warning.
  void Request(std::shared_ptr<ImageWriterState> image, std::shared_ptr<ParentImage> parent,
               std::uint64_t block);
  void Stop() noexcept;

 private:
  struct Wish {
    std::shared_ptr<ImageWriterState> image;
    std::shared_ptr<ParentImage> parent;
    std::uint64_t block = 0;
  };
  void Run(const std::stop_token& stop);

  GroupCore& core_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<Wish> wishes_;
  std::set<std::pair<const ParentImage*, std::uint64_t>> under_way_;
  std::vector<std::jthread> threads_;
};

}  // namespace holdfast
