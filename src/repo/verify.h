// Reads a repository again and says what is damaged and whom it hurts.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"

namespace holdfast {

class CpuPool;
class Repository;

struct VerifyOptions {
  /// Groups to verify; empty: all that are not forgotten.
  std::vector<GroupId> groups = {};
  /// Read one `share`-th of the packs, another one each time; 1 reads all. Everything else
  /// (manifests, records, heads, block lists, presence and size of packs) is read always.
  std::uint32_t share = 1;
  /// Packs read at once; each takes up to 64 MiB, 17 MiB for those we write.
  std::size_t parallelism = 3;
  /// Where the table of pack contents goes, 8 bytes a block, in a file without a name.
  std::string spool_directory = "/tmp";
  /// Write the result to `verifications/`, which also moves the share on; never where the
  /// repository is read-only.
  bool record = true;
};

/// Somebody who needs what is damaged.
struct AffectedImage {
  GroupId group;
  /// Label of the image; empty when the group as a whole or one of its records is hit.
  std::string label;

  friend bool operator==(const AffectedImage&, const AffectedImage&) = default;
};

struct Damage {
  /// Object key, e.g. "packs/<group>/<pack>".
  std::string object;
  /// Position in the pack, where one block is damaged rather than the object.
  std::optional<std::uint32_t> block;
  /// "does not open", "missing", "shorter than recorded", ...
  std::string what;
  /// At most kAffectedMax of them; `affected_count` counts all.
  std::vector<AffectedImage> affected;
  std::uint64_t affected_count = 0;
};
constexpr std::size_t kAffectedMax = 1000;
/// Damages that are listed one by one; beyond, a last line says how many more there are.
constexpr std::size_t kDamagesMax = 10'000;

struct VerifyProgress {
  std::uint64_t packs_done = 0;
  std::uint64_t packs = 0;
  std::uint64_t bytes_done = 0;
  std::uint64_t damaged = 0;
};

/// Told how it goes, from several threads, one at a time.
class VerifyObserver {
 public:
  virtual ~VerifyObserver() = default;
  virtual void OnProgress(const VerifyProgress&) {}
  virtual void OnDamage(const Damage&) {}
};

struct VerifyReport {
  std::uint64_t groups = 0;
  std::uint64_t images = 0;
  /// Blocks read, opened and hashed, and their plain bytes.
  std::uint64_t blocks = 0;
  std::uint64_t bytes = 0;
  std::uint64_t packs = 0;
  /// Packs that were only looked for, because they were not in this run's share.
  std::uint64_t packs_listed = 0;
  std::uint32_t share = 1;
  std::uint32_t share_index = 0;
  std::vector<Damage> damaged;
  std::uint64_t damaged_count = 0;
  /// Keys that belong to no part of the format; left alone.
  std::vector<std::string> foreign;
};

/// Declares an intent, reads everything as section 8 of the format says and goes on after damage:
/// damage is in the report, an error means that the verification itself could not be done.
Result<VerifyReport> Verify(const CallContext& call, Repository& repository,
                            const VerifyOptions& options, VerifyObserver* observer = nullptr);

/// Keys of the packs that the recorded verifications found damaged: nothing is borrowed from them
/// any more. A verification that cannot be opened is left out.
Result<std::set<std::string, std::less<>>> FindDamagedPacks(const CallContext& call,
                                                            Repository& repository);

/// JSON of a report, as it is stored and printed.
std::string VerifyReportToJson(const VerifyReport& report);

}  // namespace holdfast
