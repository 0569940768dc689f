// What a repository says of a backup group: its envelope. What the group means (collections, cut,
// consistency) is the caller's and stands in `body`, which the repository does not read.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "stream/digest.h"

namespace holdfast {

/// One image of a group, as the manifest lists it.
struct ImageRef {
  /// Key of the image's head within the repository, "images/<group>/<32 hex>". All that a reader
  /// needs.
  std::string key;
  /// Whose image it is; opaque here. An image with the same label in an older group is its parent.
  std::string label;
  /// Bytes of the tar (of the file itself for what GroupWriter::PutFile stored), and their SHA-256.
  std::uint64_t bytes = 0;
  Digest sha256{};
  std::uint64_t files = 0;
  std::uint64_t blocks = 0;
  /// Plain bytes of the blocks that this attempt had to store because nothing knew them.
  std::uint64_t bytes_new = 0;

  friend bool operator==(const ImageRef&, const ImageRef&) = default;
};

/// One collection record of a group.
struct RecordRef {
  std::uint32_t number = 0;
  std::uint64_t bytes = 0;
  /// Of the JSON text that the caller gave.
  Digest sha256{};

  friend bool operator==(const RecordRef&, const RecordRef&) = default;
};

/// A manifest as it is stored.
struct GroupEnvelope {
  GroupId group;
  /// In ascending order of their numbers.
  std::vector<RecordRef> records;
  /// In the order in which they were finished.
  std::vector<ImageRef> images;
  /// The attempts, other than this one, that wrote packs which this group's images name.
  std::vector<GroupId> borrows_from;
  /// The caller's JSON text, byte for byte.
  std::string body;

  /// Nothing when no image has that label.
  const ImageRef* FindImage(std::string_view label) const noexcept;
};

/// A line of the list of groups.
struct GroupInfo {
  GroupId group;
  /// When its manifest was stored, by the store's clock. Compare with other such times only.
  WallTime stored_at{};
  std::uint64_t manifest_bytes = 0;
  /// True for a group with a forget mark; listed only on request.
  bool forgotten = false;
};

/// Objects of an attempt that has no manifest: it broke off, or it is still at work.
struct AttemptInfo {
  GroupId group;
  /// Last-Modified of the first object that the store listed for it.
  WallTime stored_at{};
  /// A live intent names this attempt as its own: somebody is (or was, at most 7 days ago) at it.
  bool declared = false;
};

}  // namespace holdfast
