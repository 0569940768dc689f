// A value or an Error. No exception crosses a module boundary (docs/adr/0001-error-type.md).

#pragma once

#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/assert.h"
#include "base/error.h"

namespace holdfast {

template <class T>
class [[nodiscard]] Result {
  static_assert(!std::is_same_v<std::remove_cvref_t<T>, Error>);

 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT(*-explicit-*)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(*-explicit-*)

  bool ok() const noexcept { return state_.index() == 0; }

  const Error& error() const& {
    HF_ASSERT(!ok());
    return std::get<1>(state_);
  }
  Error&& error() && {
    HF_ASSERT(!ok());
    return std::get<1>(std::move(state_));
  }

  T& operator*() & {
    HF_ASSERT(ok());
    return std::get<0>(state_);
  }
  const T& operator*() const& {
    HF_ASSERT(ok());
    return std::get<0>(state_);
  }
  T&& operator*() && {
    HF_ASSERT(ok());
    return std::get<0>(std::move(state_));
  }
  T* operator->() { return &**this; }
  const T* operator->() const { return &**this; }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(*-explicit-*)

  bool ok() const noexcept { return !error_.has_value(); }
  const Error& error() const& {
    HF_ASSERT(error_.has_value());
    return *error_;
  }
  Error&& error() && {
    HF_ASSERT(error_.has_value());
    return *std::move(error_);
  }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

}  // namespace holdfast

#define HF_CONCAT_INNER_(a, b) a##b
#define HF_CONCAT_(a, b) HF_CONCAT_INNER_(a, b)
// __COUNTER__ and not __LINE__: an expansion inside a lambda inside another expansion has the same
// line, and would shadow its name.

/// HF_TRY(auto manifest, store.ReadManifest(id)); returns the error to the caller, or binds the
/// value.
#define HF_TRY(lhs, expr) HF_TRY_(HF_CONCAT_(hf_try_, __COUNTER__), lhs, expr)
#define HF_TRY_(tmp, lhs, expr)                 \
  auto tmp = (expr);                            \
  if (!tmp.ok()) return std::move(tmp).error(); \
  lhs = *std::move(tmp)

/// HF_RETURN_IF_ERROR(writer.Flush(call));
#define HF_RETURN_IF_ERROR(expr) HF_RETURN_IF_ERROR_(HF_CONCAT_(hf_status_, __COUNTER__), expr)
#define HF_RETURN_IF_ERROR_(tmp, expr)                               \
  do {                                                               \
    if (auto tmp = (expr); !tmp.ok()) return std::move(tmp).error(); \
  } while (false)
