// Seeds of the fuzz targets of tests/fuzz/repo_*: what a sound repository holds, under the keys
// that the targets use. Written with HOLDFAST_WRITE_SEEDS=<tests/fuzz/corpus>.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "repo/format/config.h"
#include "repo/format/document.h"
#include "repo/format/group_json.h"
#include "repo/format/image_format.h"
#include "repo/format/pack.h"
#include "testing/repo/test_repository.h"
#include "testing/stream/tar_tools.h"

namespace holdfast {
namespace {

using namespace holdfast::testing;

const GroupId kGroup("20261122T032438Z-9f8a7b6c5d4e3f2a");

void WriteSeed(const std::filesystem::path& folder, std::string_view name, ByteView bytes) {
  std::filesystem::create_directories(folder);
  std::ofstream file(folder / name, std::ios::binary);
  file << AsText(bytes);
  ASSERT_TRUE(file.good());
}

Bytes SeedPack(const KeyRing& keys) {
  Bytes buffer;
  PackBuilder builder(keys, PackId{}, buffer);
  Codec codec;
  for (const Bytes& plain : {Noise(40, 1), Bytes(2'000, std::byte{1}), Noise(1, 2)}) {
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

TEST(FuzzSeedsTool, WritesThemOnRequest) {
  const char* out = std::getenv("HOLDFAST_WRITE_SEEDS");
  if (out == nullptr) GTEST_SKIP() << "HOLDFAST_WRITE_SEEDS names no folder.";
  const std::filesystem::path corpus(out);
  const KeyRing keys(Sealing::kNone, RepositoryId{}, Secret());
  WriteSeed(corpus / "repo_pack", "three_blocks", SeedPack(keys));
  WriteSeed(corpus / "repo_document", "small",
            *SealDocument(keys, KernelRandom(), "groups/fuzz", AsBytes("{}")));
  const ImageHead head = SeedHead();
  WriteSeed(corpus / "repo_image", "head", *WriteImageHead(head));
  WriteSeed(corpus / "repo_image", "files", head.file_list.rest);
  WriteSeed(corpus / "repo_image", "blocks", head.block_list.rest);
  const auto text = [&](std::string_view name, const std::string& json) {
    WriteSeed(corpus / "repo_json", name, AsBytes(json));
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
}  // namespace holdfast
