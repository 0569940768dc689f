#include "repo/verify/damage_list.h"

#include <fmt/format.h>

#include <algorithm>

namespace holdfast {

bool IsDamage(const Error& error) noexcept {
  return error.code() == ErrorCode::kDataLoss || error.code() == ErrorCode::kNotFound ||
         error.code() == ErrorCode::kUnsupported;
}

void DamageList::AddAffected(Damage& damage, const AffectedImage& affected) {
  // Images are gone through one after the other, so that only the last ones can be the same.
  if (std::ranges::find(damage.affected, affected) != damage.affected.end()) return;
  ++damage.affected_count;
  if (damage.affected.size() < kAffectedMax) damage.affected.push_back(affected);
}

void DamageList::Add(const std::string& object, std::optional<std::uint32_t> block,
                     std::string what, const std::optional<AffectedImage>& affected) {
  const std::scoped_lock lock(mutex_);
  const Place place(object, block);
  if (const auto found = damages_.find(place); found != damages_.end()) {
    if (affected) AddAffected(found->second, *affected);
    return;
  }
  ++count_;
  Damage damage;
  damage.object = object;
  damage.block = block;
  damage.what = std::move(what);
  if (affected) AddAffected(damage, *affected);
  if (observer_ != nullptr) observer_->OnDamage(damage);
  if (damages_.size() < kDamagesMax) damages_.emplace(place, std::move(damage));
}

void DamageList::Affects(const std::string& object, std::optional<std::uint32_t> block,
                         const AffectedImage& affected) {
  const std::scoped_lock lock(mutex_);
  if (const auto found = damages_.find(Place(object, block)); found != damages_.end()) {
    AddAffected(found->second, affected);
  }
}

std::uint64_t DamageList::count() const {
  const std::scoped_lock lock(mutex_);
  return count_;
}

std::vector<Damage> DamageList::Take() {
  const std::scoped_lock lock(mutex_);
  std::vector<Damage> out;
  for (auto& [place, damage] : damages_) out.push_back(std::move(damage));
  if (count_ > out.size()) {
    Damage more;
    more.what = fmt::format("{} more damages are not listed", count_ - out.size());
    out.push_back(std::move(more));
  }
  damages_.clear();
  return out;
}

void DamageList::OnProgress(const VerifyProgress& progress) {
  if (observer_ == nullptr) return;
  const std::scoped_lock lock(mutex_);
  observer_->OnProgress(progress);
}

}  // namespace holdfast
