#include "testing/repo/fuzz_seeds.h"

#include <algorithm>
#include <fstream>
#include <string_view>

#include "base/random.h"
#include "repo/format/config.h"
#include "repo/format/document.h"
#include "repo/format/group_json.h"
#include "repo/format/image_format.h"
#include "repo/format/pack.h"
#include "testing/repo/test_repository.h"
#include "testing/stream/tar_tools.h"

namespace holdfast::testing {
namespace {

const GroupId kGroup("20261122T032438Z-9f8a7b6c5d4e3f2a");

/// The same salt every time, so that seeds do not change when they are written again.
class Zeros final : public SecureRandom {
 public:
  void Fill(std::span<std::byte> out) override { std::ranges::fill(out, std::byte{0}); }
};

Bytes SeedPack(const KeyRing& keys) {
  Bytes buffer;
  PackBuilder builder(keys, PackId{}, buffer);
  Codec codec;
  // Noise, a long run, one byte, and words with equal exponents.
  Bytes words = Noise(4'096, 3);
  for (std::size_t i = 3; i < words.size(); i += 4) words[i] = std::byte{0x3f};
  for (const Bytes& plain : {Noise(40, 1), Bytes(2'000, std::byte{1}), Noise(1, 2), words}) {
    Bytes coded;
    BlockIdentity block{.name = keys.NameBlock(plain),
                        .codec = 0,
                        .plain_size = static_cast<std::uint32_t>(plain.size())};
    block.codec = static_cast<std::uint8_t>(codec.Encode(plain, coded));
    builder.Add(block, coded);
  }
  builder.Finish();
  return buffer;
}

ImageHead SeedHead() {
  ImageHead head;
  head.label = "uuid/0/17";
  head.bytes = 3'072;
  head.files = 1;
  head.blocks = 1;
  head.note = "{}";
  head.packs.Add(head.packs.AddGroup(kGroup), PackId{});
  AppendBlockRecord(head.block_list.rest,
                    {.block = {.name = {}, .codec = 1, .plain_size = 600},
                     .pack = 0,
                     .place = {.position = 0, .offset = 16, .sealed_size = 100},
                     .file_offset = 0});
  const auto entries = *ReadTar(MakeTar({{"file", Noise(600, 1)}}));
  AppendFileRecord(head.file_list.rest, {.headers = entries[0].entry.headers,
                                         .path = "file",
                                         .real_size = 600,
                                         .stored_size = 600,
                                         .first_block = 0,
                                         .block_count = 1,
                                         .padding = {}});
  head.zero_bytes = 1'024;
  return head;
}

GroupEnvelope SeedEnvelope() {
  GroupEnvelope envelope;
  envelope.group = kGroup;
  envelope.records = {{.number = 0, .bytes = 2, .sha256 = {}}};
  envelope.images = {{.key = ImageKey(kGroup, std::string(32, 'a')), .label = "uuid/0/17"}};
  envelope.borrows_from = {kGroup};
  envelope.body = "{}";
  return envelope;
}

void AddTexts(const KeyRing& keys, std::vector<FuzzSeed>& seeds) {
  const auto text = [&](std::string_view name, const std::string& json) {
    seeds.push_back({"repo_json/" + std::string(name), ToBytes(AsBytes(json))});
  };
  RepositoryConfig config;
  config.sealing = Sealing::kNone;
  text("config", WriteConfig(config, keys));
  config.sealing = Sealing::kAes256Gcm;
  config.key = WrappedKey{.salt = {}, .cost = {}, .wrapped = Bytes(48)};
  text("config_sealed", WriteConfig(config, keys));
  text("manifest", *WriteManifest(RepositoryId{}, SeedEnvelope()));
  text("intent", *WriteIntent({.purpose = "backup", .own = kGroup, .relies_on = {kGroup}}, 3));
  text("forgotten", *WriteForgetMark(kGroup, "{}"));
  text("key", ImageKey(kGroup, std::string(32, 'a')) + ".b00001");
}

}  // namespace

KeyRing FuzzKeys() { return {Sealing::kNone, RepositoryId{}, Secret()}; }

std::vector<FuzzSeed> RepoFuzzSeeds() {
  const KeyRing keys = FuzzKeys();
  Zeros zeros;
  const ImageHead head = SeedHead();
  std::vector<FuzzSeed> seeds;
  seeds.push_back({"repo_pack/blocks", SeedPack(keys)});
  seeds.push_back(
      {"repo_document/small", *SealDocument(keys, zeros, "groups/fuzz", AsBytes("{}"))});
  seeds.push_back({"repo_image/head", *WriteImageHead(head)});
  seeds.push_back({"repo_image/files", head.file_list.rest});
  seeds.push_back({"repo_image/blocks", head.block_list.rest});
  AddTexts(keys, seeds);
  return seeds;
}

Status WriteFuzzSeeds(const std::filesystem::path& corpus) {
  for (const FuzzSeed& seed : RepoFuzzSeeds()) {
    const std::filesystem::path path = corpus / seed.path;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream file(path, std::ios::binary);
    file << AsText(seed.bytes) << std::flush;
    if (!file) return Error(ErrorCode::kInternal, path.string() + " was not written");
  }
  return {};
}

}  // namespace holdfast::testing
