// Where the fields of a tar header lie (GNU tar manual, "Basic Tar Format").

#pragma once

#include <cstddef>
#include <string_view>

namespace holdfast::tar_layout {

struct Field {
  std::size_t at;
  std::size_t size;
};

constexpr Field kName{0, 100};
constexpr Field kMode{100, 8};
constexpr Field kUid{108, 8};
constexpr Field kGid{116, 8};
constexpr Field kSize{124, 12};
constexpr Field kMtime{136, 12};
constexpr Field kChecksum{148, 8};
constexpr Field kType{156, 1};
constexpr Field kMagic{257, 8};

/// POSIX ustar: goes in front of the name.
constexpr Field kPrefix{345, 155};

/// Old GNU sparse: four runs in the header, 21 in every further block; each an offset and a length
/// of 12 bytes.
constexpr std::size_t kNumberBytes = 12;
constexpr std::size_t kRunBytes = 2 * kNumberBytes;
constexpr Field kRuns{386, 4 * kRunBytes};
constexpr std::size_t kMoreRuns = 482;
constexpr Field kRealSize{483, 12};
constexpr Field kBlockRuns{0, 21 * kRunBytes};
constexpr std::size_t kBlockMoreRuns = 504;

using namespace std::string_view_literals;
constexpr std::string_view kGnuMagic = "ustar  \0"sv;
constexpr std::string_view kPosixMagic = "ustar\00000"sv;

constexpr char kTypeFile = '0';
constexpr char kTypeOldFile = '\0';
constexpr char kTypeDirectory = '5';
constexpr char kTypeSparse = 'S';
constexpr char kTypeLongName = 'L';
constexpr char kTypePax = 'x';

}  // namespace holdfast::tar_layout
