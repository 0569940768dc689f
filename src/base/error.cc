#include "base/error.h"

#include <utility>

namespace holdfast {

std::string_view ErrorCodeName(ErrorCode code) noexcept {
  switch (code) {
#define X(name, text, exit_status) \
  case ErrorCode::name:            \
    return text;
#include "base/error_codes.def"
#undef X
  }
  return "internal";
}

int ExitStatus(ErrorCode code) noexcept {
  switch (code) {
#define X(name, text, exit_status) \
  case ErrorCode::name:            \
    return exit_status;
#include "base/error_codes.def"
#undef X
  }
  return 1;
}

bool IsRetryable(ErrorCode code) noexcept {
  return code == ErrorCode::kUnavailable || code == ErrorCode::kDeadlineExceeded ||
         code == ErrorCode::kBusy;
}

Error Error::While(std::string_view doing) && {
  message_.insert(0, std::string(doing) + ": ");
  return std::move(*this);
}

Error Error::While(std::string_view doing) const& { return Error(*this).While(doing); }

Error Error::WithHint(std::string hint) && {
  if (hint_.empty()) hint_ = std::move(hint);
  return std::move(*this);
}

Error Error::As(ErrorCode code) && {
  code_ = code;
  return std::move(*this);
}

std::string Error::ToString() const {
  std::string text(ErrorCodeName(code_));
  text += ": " + message_;
  if (!hint_.empty()) text += "; " + hint_;
  return text;
}

}  // namespace holdfast
