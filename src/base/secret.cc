#include "base/secret.h"

#include <cstring>
#include <utility>

namespace holdfast {

void Secret::Wipe() noexcept {
  // explicit_bzero is not removed by the optimizer, unlike memset before a free.
  if (!value_.empty()) explicit_bzero(value_.data(), value_.size());
  value_.clear();
}

Secret::~Secret() { Wipe(); }

Secret::Secret(Secret&& other) noexcept : value_(std::exchange(other.value_, {})) {}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    Wipe();
    value_ = std::exchange(other.value_, {});
  }
  return *this;
}

}  // namespace holdfast
