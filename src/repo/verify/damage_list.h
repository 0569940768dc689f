// Damage found by one verification, and whom it hurts.

#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "repo/verify.h"

namespace holdfast {

/// True for an error that says something of the stored bytes rather than of the way to them.
bool IsDamage(const Error& error) noexcept;

/// Thread-safe.
class DamageList {
 public:
  explicit DamageList(VerifyObserver* observer) : observer_(observer) {}

  /// One damage of an object, or of one block of a pack. A second one of the same place changes
  /// nothing.
  void Add(const std::string& object, std::optional<std::uint32_t> block, std::string what,
           const std::optional<AffectedImage>& affected = std::nullopt);
  /// Notes that somebody needs what was found damaged before; each once.
  void Affects(const std::string& object, std::optional<std::uint32_t> block,
               const AffectedImage& affected);

  std::uint64_t count() const;
  /// In the order of objects and blocks; whoever listens has been told of all of them. Ends the
  /// list.
  std::vector<Damage> Take();

  void OnProgress(const VerifyProgress& progress);

 private:
  using Place = std::pair<std::string, std::optional<std::uint32_t>>;
  static void AddAffected(Damage& damage, const AffectedImage& affected);

  VerifyObserver* const observer_;
  mutable std::mutex mutex_;
  std::map<Place, Damage> damages_;
  std::uint64_t count_ = 0;
};

}  // namespace holdfast
