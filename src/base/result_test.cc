#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>

namespace holdfast {
namespace {

Result<int> Half(int number) {
  if (number % 2 != 0) return Error(ErrorCode::kInvalidArgument, "odd");
  return number / 2;
}

Result<int> Quarter(int number) {
  HF_TRY(const int half, Half(number));
  HF_TRY(const int quarter, Half(half));
  return quarter;
}

Status Check(int number) {
  HF_RETURN_IF_ERROR(Quarter(number));
  return {};
}

TEST(Result, HoldsAValueOrAnError) {
  EXPECT_EQ(*Half(8), 4);
  EXPECT_FALSE(Half(7).ok());
  EXPECT_EQ(Half(7).error().message(), "odd");
}

TEST(Result, TryBindsTheValueOrReturnsTheError) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(6).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(Check(8).ok());
  EXPECT_FALSE(Check(3).ok());
}

TEST(Result, MovesWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(3));
  const std::unique_ptr<int> value = *std::move(result);
  EXPECT_EQ(*value, 3);
}

TEST(ResultDeathTest, TakingTheValueOfAnErrorStopsTheProcess) {
  EXPECT_DEATH(static_cast<void>(*Half(7)), "invariant broken: ok\\(\\)");
  EXPECT_DEATH(static_cast<void>(Half(8).error()), "invariant broken: !ok\\(\\)");
}

TEST(Error, ContextIsAddedInFrontAndTheCodeStays) {
  const Error error = Error(ErrorCode::kUnavailable, "connection reset")
                          .While("upload pack 3fa9")
                          .While("back up docs/0");
  EXPECT_EQ(error.message(), "back up docs/0: upload pack 3fa9: connection reset");
  EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
  EXPECT_EQ(error.While("again").message(), "again: " + error.message());
}

TEST(Error, TheFirstHintStays) {
  const Error error = Error(ErrorCode::kBusy, "locked")
                          .WithHint("wait")
                          .WithHint("never seen")
                          .As(ErrorCode::kAborted);
  EXPECT_EQ(error.ToString(), "aborted: locked; wait");
}

TEST(Error, EveryCodeHasANameOfItsOwnAndAnExitStatusOfTheContract) {
  std::set<std::string_view> names;
  const std::set<int> statuses{1, 2, 4, 5, 130};
  int codes = 0;
#define X(name, text, exit_status)                     \
  ++codes;                                             \
  names.insert(ErrorCodeName(ErrorCode::name));        \
  EXPECT_EQ(ErrorCodeName(ErrorCode::name), text);     \
  EXPECT_EQ(ExitStatus(ErrorCode::name), exit_status); \
  EXPECT_TRUE(statuses.contains(ExitStatus(ErrorCode::name))) << #name;
#include "base/error_codes.def"
#undef X
  EXPECT_EQ(names.size(), static_cast<std::size_t>(codes));
}

TEST(Error, OnlyWhatMayPassByItselfIsRetried) {
  EXPECT_TRUE(IsRetryable(ErrorCode::kUnavailable));
  EXPECT_TRUE(IsRetryable(ErrorCode::kBusy));
  EXPECT_FALSE(IsRetryable(ErrorCode::kDataLoss));
  EXPECT_FALSE(IsRetryable(ErrorCode::kCancelled));
  EXPECT_FALSE(IsRetryable(ErrorCode::kAborted));
}

}  // namespace
}  // namespace holdfast
