#include "repo/verify.h"

#include <fmt/format.h>

#include <deque>

#include "model/json.h"
#include "repo/format/document.h"
#include "repo/listing.h"
#include "repo/repository.h"
#include "repo/verify/verifier.h"

namespace holdfast {
namespace {

using json::Json;

/// Older verifications than these have been said again by newer ones, as long as it matters.
constexpr std::size_t kVerificationsLookedAt = 32;

}  // namespace

Result<VerifyReport> Verify(const CallContext& call, Repository& repository,
                            const VerifyOptions& options, VerifyObserver* observer) {
  if (options.share == 0) {
    return Error(ErrorCode::kInvalidArgument,
                 "the share to verify is one n-th, n being at least 1");
  }
  return Verifier(repository, options, observer).Run(call);
}

Result<std::set<std::string, std::less<>>> FindDamagedPacks(const CallContext& call,
                                                            Repository& repository) {
  std::deque<std::string> newest;
  HF_RETURN_IF_ERROR(
      VisitObjects(call, repository.store(), kVerificationsFolder, [&](const StoredObject& object) {
        if (ParseKey(object.key)) newest.push_back(object.key);
        if (newest.size() > kVerificationsLookedAt) newest.pop_front();
        return Status();
      }));
  std::set<std::string, std::less<>> packs;
  for (const std::string& key : newest) {
    const auto content = ReadDocument(call, repository.store(), repository.keys(), key);
    if (!content.ok()) {
      if (IsDamage(content.error())) continue;
      return content.error();
    }
    const auto report = json::Parse(AsText(*content), key);
    if (!report.ok()) continue;
    json::Reader reader(*report, key);
    for (const Json& damage : reader.Array("damaged")) {
      json::Reader line(damage, key);
      std::string object = line.TextOr("object", "");
      const auto parsed = ParseKey(object);
      if (parsed && parsed->kind == KeyKind::kPack) packs.insert(std::move(object));
    }
  }
  return packs;
}

std::string VerifyReportToJson(const VerifyReport& report) {
  Json damaged = Json::array();
  for (const Damage& damage : report.damaged) {
    Json affected = Json::array();
    for (const AffectedImage& image : damage.affected) {
      affected.push_back({{"group", image.group.value()}, {"label", image.label}});
    }
    Json line = {{"object", damage.object},
                 {"what", damage.what},
                 {"affected", std::move(affected)},
                 {"affected_count", damage.affected_count}};
    if (damage.block) line["block"] = *damage.block;
    damaged.push_back(std::move(line));
  }
  return json::Dump({{"groups", report.groups},
                     {"images", report.images},
                     {"blocks", report.blocks},
                     {"bytes", report.bytes},
                     {"packs", report.packs},
                     {"packs_listed", report.packs_listed},
                     {"share", report.share},
                     {"share_index", report.share_index},
                     {"damaged", std::move(damaged)},
                     {"damaged_count", report.damaged_count},
                     {"foreign", report.foreign}});
}

}  // namespace holdfast
