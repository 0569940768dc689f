// One verification run.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "repo/format/image_format.h"
#include "repo/intent.h"
#include "repo/pack_presence.h"
#include "repo/repository.h"
#include "repo/verify.h"
#include "repo/verify/damage_list.h"
#include "repo/verify/pack_contents.h"

namespace holdfast {

class Verifier {
 public:
  Verifier(Repository& repository, const VerifyOptions& options, VerifyObserver* observer)
      : repository_(repository), options_(options), damages_(observer) {}

  Result<VerifyReport> Run(const CallContext& call);

 private:
  Status ListEverything(const CallContext& call);
  Status CheckConfig(const CallContext& call);
  Status CheckNotes(const CallContext& call);
  Status ChooseShare(const CallContext& call);

  Status CheckGroup(const CallContext& call, const GroupId& group);
  Status CollectPacks(const CallContext& call, const GroupId& group, const ImageRef& image);
  Status CheckPacks(const CallContext& call);
  Status CheckPack(const CallContext& call, std::uint32_t pack);
  Status ReadPack(const CallContext& call, std::uint32_t pack, const std::string& key);
  Status CheckImage(const CallContext& call, const GroupId& group, const ImageRef& image);
  Status CheckParts(const CallContext& call, const AffectedImage& affected, const ImageRef& image,
                    const ImageHead& head, bool& whole);
  Status CheckLists(const CallContext& call, const AffectedImage& affected, const ImageRef& image,
                    const ImageHead& head);
  Status ForEachImage(
      const CallContext& call,
      const std::function<Status(const CallContext&, const GroupId&, const ImageRef&)>& work);
  bool InShare(const PackId& id) const noexcept;
  Status Record(const CallContext& call, const VerifyReport& report);

  Repository& repository_;
  const VerifyOptions options_;
  DamageList damages_;
  std::unique_ptr<PackContents> packs_;
  std::map<std::string, PackPresence> presence_;
  std::vector<GroupId> groups_;
  std::vector<std::string> foreign_;
  std::vector<std::string> notes_;
  std::uint32_t share_index_ = 0;

  std::atomic<std::uint64_t> images_done_ = 0;
  std::atomic<std::uint64_t> packs_done_ = 0;
  std::atomic<std::uint64_t> packs_listed_ = 0;
  std::atomic<std::uint64_t> blocks_ = 0;
  std::atomic<std::uint64_t> bytes_ = 0;
};

}  // namespace holdfast
