#include "repo/pack_presence.h"

#include <algorithm>

#include "repo/listing.h"

namespace holdfast {

Result<PackPresence> PackPresence::List(const CallContext& call, ObjectStore& store,
                                        const GroupId& group) {
  std::vector<std::uint64_t> prefixes;
  HF_RETURN_IF_ERROR(
      VisitObjects(call, store, PacksFolderOf(group), [&](const StoredObject& object) {
        if (const auto key = ParseKey(object.key)) prefixes.push_back(PackPrefix(key->pack));
        return Status();
      }));
  return PackPresence(std::move(prefixes));
}

bool PackPresence::Contains(std::uint64_t prefix) const noexcept {
  return std::ranges::binary_search(prefixes_, prefix);
}

}  // namespace holdfast
