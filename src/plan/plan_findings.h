// What planning finds. For this module.

#pragma once

#include <cstddef>
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
  /// Problems among them that are over by themselves after a time.
  std::size_t passing = 0;
  std::vector<std::string> given_up;
  std::vector<std::string> warnings;

  void Problem(std::string text, std::string way_out = {}) {
    problems.push_back(std::move(text));
    if (hint.empty()) hint = std::move(way_out);
  }

  void PassingProblem(std::string text, std::string way_out) {
    ++passing;
    Problem(std::move(text), std::move(way_out));
  }

  /// `what` and all problems: kBusy when all of them pass by themselves.
  Error Refusal(std::string what) const {
    for (std::size_t i = 0; i < problems.size(); ++i) {
      what += (i == 0 ? "" : " | ") + problems[i];
    }
    const bool passes = passing > 0 && passing == problems.size();
    return Error(passes ? ErrorCode::kBusy : ErrorCode::kFailedPrecondition, what, hint);
  }
};

}  // namespace holdfast
