// Listing a directory tree as flat keys in order. Internal to store.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "store/object_store.h"

namespace holdfast {

struct DirectoryListing {
  std::vector<StoredObject> objects;
  /// 0, or the errno of the system call on `failed_path` that ended the listing.
  int error_number = 0;
  std::string failed_path;
};

/// The first ObjectStore::kListPageMax regular files below `root_fd` whose paths are valid keys
/// that begin with `prefix` and are above `after`, in byte order of the whole path. However many
/// files there are, it holds at most a page of names for each level of directories.
Result<DirectoryListing> ListDirectoryTree(const CallContext& call, Clock& clock, int root_fd,
                                           std::string_view prefix, std::string_view after);

}  // namespace holdfast
