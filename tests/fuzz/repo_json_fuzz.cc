// The JSON texts of a repository: holdfast.json, manifests, intents, forget marks; and object keys.

#include <cstddef>
#include <cstdint>

#include "base/assert.h"
#include "repo/format/config.h"
#include "repo/format/group_json.h"
#include "repo/format/keys.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = AsText(std::as_bytes(std::span(data, size)));
  const KeyRing keys(Sealing::kNone, RepositoryId{}, Secret());
  const GroupId group("20261122T032438Z-9f8a7b6c5d4e3f2a");
  const auto config = ReadConfig::Parse(text);
  if (config.ok()) static_cast<void>(config->Check(keys).ok());
  const auto manifest = ReadManifestJson(RepositoryId{}, group, text, "fuzz");
  if (manifest.ok()) {
    const auto written = WriteManifest(RepositoryId{}, *manifest);
    HF_ASSERT(written.ok());
    HF_ASSERT(ReadManifestJson(RepositoryId{}, group, *written, "fuzz").ok());
  }
  const auto intent = ReadIntent(text, "fuzz");
  if (intent.ok()) HF_ASSERT(ReadIntent(*WriteIntent(*intent, 1), "fuzz").ok());
  static_cast<void>(ReadForgetMark(group, text, "fuzz").ok());
  static_cast<void>(ParseKey(text));
  return 0;
}
