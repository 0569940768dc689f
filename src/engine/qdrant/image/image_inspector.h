// Decides whether a shard tar is a complete image, and finds its layout and its ids on the way.

#pragma once

#include <memory>
#include <optional>
#include <string>

#include "engine/engine.h"

namespace holdfast::qdrant {

/// Complete means (design.md; measured 2, 14; reference 3.2): nothing but an image has, as its last
/// two entries, `replica_state.json` with "is_local": true and `shard_config.json`; `wal/` with a
/// file in it is there; there is at least one entry below `segments/`, and every segment folder has
/// `segment.json` and `version.info`; all segments have one layout. A tar with nested segment tars
/// (stored) or with `segment_manifest.json` (partial) is none. The end marker is the tar reader's
/// business.
///
/// `known_as` is what ImageFacts::peer is instead of the id that the image tells: a stand-alone
/// server has one that it shows nowhere else.
///
/// Memory: 1 MiB for the small files, one line a segment, and what IdSorter takes.
std::unique_ptr<ImageInspector> NewImageInspector(const std::string& spool_directory,
                                                  std::optional<PeerId> known_as = {});

}  // namespace holdfast::qdrant
