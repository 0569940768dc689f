// One image, read once, for several targets.

#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "stream/byte_source.h"

namespace holdfast {

/// Bytes that wait for one target.
inline constexpr std::uint64_t kFanoutBytesPerTarget = 8ULL << 20;
/// A target that takes nothing for this long while others wait for bytes is left behind.
inline constexpr Duration kFanoutPatience = std::chrono::seconds(5);

/// Opens the source; called again for a target that was left behind.
using SourceOpener = std::function<Result<std::unique_ptr<ByteSource>>(const CallContext&)>;
/// Sends everything `source` gives to target number `target`.
using TargetSender =
    std::function<Status(const CallContext&, std::size_t target, ByteSource& source)>;

/// Reads the source once and feeds all targets; one that stalls is fed later from a second reading,
/// so that it never slows the others (design.md, Restore). OK when every target was served; else
/// the first error, after which the rest is stopped. Blocking; memory is kFanoutBytesPerTarget a
/// target.
Status SendToAll(const CallContext& call, Clock& clock, std::size_t targets,
                 const SourceOpener& open, const TargetSender& send);

}  // namespace holdfast
