// Chance, always passed in, so that one seed replays a run. Keys and salts come from
// stream/crypto.h, never from here.

#pragma once

#include <cstdint>
#include <mutex>
#include <random>

namespace holdfast {

/// Thread-safe.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}

  /// Uniform over [low, high].
  std::int64_t Between(std::int64_t low, std::int64_t high) {
    const std::scoped_lock lock(mutex_);
    return std::uniform_int_distribution<std::int64_t>(low, high)(engine_);
  }
  /// Uniform over all 64-bit values.
  std::uint64_t Next() {
    const std::scoped_lock lock(mutex_);
    return engine_();
  }

 private:
  std::mutex mutex_;
  std::mt19937_64 engine_;
};

}  // namespace holdfast
