// Writes test data that is kept in the tree and made by our own code: golden repositories
// (tests/golden) and seeds of fuzz targets (tests/fuzz/corpus). Run by hand, see tests/golden.

#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "repo/repository.h"
#include "stream/sealer.h"
#include "testing/repo/fuzz_seeds.h"
#include "testing/repo/golden.h"

namespace {

using namespace holdfast;

int Usage() {
  std::cerr << "Usage: write_test_data golden FOLDER VERSION   (for instance /tmp/golden v1)\n"
               "       write_test_data seeds FOLDER            (for instance tests/fuzz/corpus)\n";
  return 2;
}

int Report(const Status& status) {
  if (status.ok()) return 0;
  std::cerr << status.error().ToString() << '\n';
  return 1;
}

Status WriteGoldens(const std::filesystem::path& folder, const std::string& version) {
  std::filesystem::create_directories(folder);
  for (const Sealing sealing : {Sealing::kNone, Sealing::kAes256Gcm}) {
    const std::string name = version + "-" + std::string(SealingName(sealing));
    HF_RETURN_IF_ERROR(holdfast::testing::WriteGolden(folder / name, sealing));
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  try {
    if (words.size() == 3 && words[0] == "golden") return Report(WriteGoldens(words[1], words[2]));
    if (words.size() == 2 && words[0] == "seeds") {
      return Report(holdfast::testing::WriteFuzzSeeds(words[1]));
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return Usage();
}
