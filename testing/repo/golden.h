// Golden repositories (tests/golden): what they hold, how one is written, how one is compared.

#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "repo/repository.h"
#include "stream/digest.h"
#include "stream/sealer.h"

namespace holdfast::testing {

/// One image that a golden repository must give back: a line of its .sha256 file.
struct GoldenImage {
  GroupId group;
  std::string label;
  std::uint64_t bytes = 0;
  Digest sha256{};
};

/// Group 1, group 2 that borrows from it, and group 3, which is forgotten.
GroupId GoldenGroup(std::uint64_t number);

/// The body of a group, its collection record, and the note of the forget mark of group 3.
std::string GoldenBody(std::uint64_t number);
inline constexpr std::string_view kGoldenRecord = R"({"collection":"docs","number":1.5})";
inline constexpr std::string_view kGoldenNote = R"({"by":"golden"})";

/// Makes the repository `folder` with all its groups and a verification, and beside it
/// `folder`.sha256: "<sha256> <bytes> <group> <label>", a line for every image.
Status WriteGolden(const std::filesystem::path& folder, Sealing sealing);

/// The lines of that file. kDataLoss for a line that is none.
Result<std::vector<GoldenImage>> ReadGoldenList(const std::filesystem::path& list);

/// The codecs of all blocks in all packs, from their footers.
Result<std::set<int>> CodecsOf(Repository& repository);

}  // namespace holdfast::testing
