// What planning finds. For this module.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace holdfast {

/// Collects every problem, so that the user meets them all at once.
struct PlanFindings {
  std::vector<std::string> problems;
  /// Of the first problem that has one.
  std::string hint;
  std::vector<std::string> given_up;
  std::vector<std::string> warnings;

  void Problem(std::string text, std::string way_out = {}) {
    problems.push_back(std::move(text));
    if (hint.empty()) hint = std::move(way_out);
  }

  /// `what` and all problems.
  Error Refusal(std::string what) const {
    for (std::size_t i = 0; i < problems.size(); ++i) {
      what += (i == 0 ? "" : " | ") + problems[i];
    }
    return Error(ErrorCode::kFailedPrecondition, what, hint);
  }
};

}  // namespace holdfast
