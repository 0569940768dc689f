// Seeds of the fuzz targets tests/fuzz/repo_*: what a sound repository holds, under the keys that
// the targets use.

#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "repo/format/key_ring.h"

namespace holdfast::testing {

/// "<target>/<name>" below tests/fuzz/corpus and its bytes.
struct FuzzSeed {
  std::string path;
  Bytes bytes;
};

/// The keys of the targets: no encryption, a repository id of zeros.
KeyRing FuzzKeys();

std::vector<FuzzSeed> RepoFuzzSeeds();

Status WriteFuzzSeeds(const std::filesystem::path& corpus);

}  // namespace holdfast::testing
