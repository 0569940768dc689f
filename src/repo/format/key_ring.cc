#include "repo/format/key_ring.h"

#include "base/assert.h"
#include "stream/crypto.h"

namespace holdfast {
namespace {

constexpr std::size_t kDataKeyBytes = 32;
constexpr std::size_t kImagePrefixBytes = 8;

HmacSha256 MakeHmac(const Secret& data_key, const RepositoryId& repository, std::string_view info) {
  if (data_key.empty()) return HmacSha256(ByteView());
  const Secret key = HkdfSha256(data_key.Reveal(), repository, AsBytes(info), kDataKeyBytes);
  return HmacSha256(key.Reveal());
}

}  // namespace

KeyRing::KeyRing(Sealing sealing, const RepositoryId& repository, Secret data_key)
    : sealing_(sealing),
      repository_(repository),
      data_key_(std::move(data_key)),
      block_names_(MakeHmac(data_key_, repository_, "holdfast block name v1")),
      image_labels_(MakeHmac(data_key_, repository_, "holdfast image label v1")) {
  HF_ASSERT(data_key_.Reveal().size() == (sealing == Sealing::kNone ? 0 : kDataKeyBytes));
}

KeyRing::~KeyRing() = default;

Secret KeyRing::Derive(ByteView salt, std::string_view info) const {
  if (sealing_ == Sealing::kNone) return {};
  return HkdfSha256(data_key_.Reveal(), salt, AsBytes(info), kDataKeyBytes);
}

Digest KeyRing::NameBlock(ByteView plain) const {
  return sealing_ == Sealing::kNone ? Sha256Of(plain) : block_names_.Of(plain);
}

std::string KeyRing::ImagePrefix(const GroupId& group, std::string_view label) const {
  Bytes text = ToBytes(AsBytes(group.value()));
  text.push_back(std::byte{0});
  Append(text, AsBytes(label));
  return ToHex(ByteView(image_labels_.Of(text)).first(kImagePrefixBytes));
}

Digest KeyRing::CheckConfig(ByteView canonical) const {
  if (sealing_ == Sealing::kNone) return Sha256Of(canonical);
  return HmacSha256(Derive(repository_, "holdfast configuration v1").Reveal()).Of(canonical);
}

std::unique_ptr<Sealer> KeyRing::PackSealer(const PackId& pack) const {
  return MakeSealer(sealing_, Derive(pack, "holdfast pack v1"));
}

std::unique_ptr<Sealer> KeyRing::DocumentSealer(const Salt& salt) const {
  return MakeSealer(sealing_, Derive(salt, "holdfast document v1"));
}

}  // namespace holdfast
