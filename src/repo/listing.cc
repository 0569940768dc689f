#include "repo/listing.h"

#include <string>

#include "model/group.h"

namespace holdfast {

Status VisitObjects(const CallContext& call, ObjectStore& store, std::string_view prefix,
                    const std::function<Status(const StoredObject&)>& visit) {
  std::string after;
  for (;;) {
    HF_TRY(const auto page, store.List(call, prefix, after));
    for (const StoredObject& object : page) HF_RETURN_IF_ERROR(visit(object));
    if (page.size() < ObjectStore::kListPageMax) return {};
    after = page.back().key;
  }
}

Status VisitAttempts(
    const CallContext& call, ObjectStore& store, std::string_view folder,
    const std::function<Status(const GroupId&, const StoredObject& first)>& visit) {
  std::string after;
  for (;;) {
    HF_TRY(const auto page, store.List(call, folder, after));
    std::string seen;
    for (const StoredObject& object : page) {
      std::string_view name = object.key;
      name.remove_prefix(folder.size());
      name = name.substr(0, name.find('/'));
      if (name == seen || !IsGroupId(name)) continue;
      seen = std::string(name);
      HF_RETURN_IF_ERROR(visit(GroupId(seen), object));
    }
    if (page.size() < ObjectStore::kListPageMax) return {};
    // '0' is the character behind '/': the next page begins behind all that the last attempt has.
    const std::string& last = page.back().key;
    after = last.substr(0, last.find('/', folder.size())) + "/~";
    if (after < last) after = last;
  }
}

}  // namespace holdfast
