// Values and checks that the tests of the catalog and of the jobs share.

#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "base/result.h"
#include "catalog/records.h"

#define HF_EXPECT_OK(expr)                                       \
  do {                                                           \
    const auto hf_result = (expr);                               \
    EXPECT_TRUE(hf_result.ok()) << hf_result.error().ToString(); \
  } while (false)
#define HF_EXPECT_CODE(expr, wanted)                                                     \
  do {                                                                                   \
    const auto hf_result = (expr);                                                       \
    ASSERT_FALSE(hf_result.ok());                                                        \
    EXPECT_EQ(ErrorCodeName(hf_result.error().code()), ErrorCodeName(ErrorCode::wanted)) \
        << hf_result.error().ToString();                                                 \
  } while (false)

namespace holdfast::testing {

constexpr Duration kTerm = std::chrono::seconds(30);

/// A group whose every member says something.
inline GroupRecord SampleGroup(const std::string& id, Duration cut) {
  const WallTime begin{std::chrono::seconds(1'795'317'878)};
  return {.id = GroupId(id),
          .repository_id = "repo",
          .cluster = "prod",
          .begun_at = begin,
          .cut_at = begin + cut,
          .state = GroupState::kComplete,
          .consistency = Consistency::kWindow,
          .skew = std::chrono::microseconds(1'234'567),
          .collections = 3,
          .shards = 12,
          .points = 9'007'199'254'740'993,
          .bytes_read = 1,
          .bytes_new = 2,
          .bytes_stored = 3,
          .summary_json = R"({"note":"Größe, 漢字, \u0000, ' \" ; --"})"};
}

inline NewJob SampleJob(const std::string& id) {
  return {.id = JobId(id),
          .kind = "restore",
          .cluster = "prod",
          .subject = "",
          .lease_name = "cluster/prod/restore",
          .request_json = R"({"group":"latest"})"};
}

/// `bytes` of JSON in which every fourth byte begins a character of three.
inline std::string LongJson(std::size_t bytes) {
  std::string text = "\"";
  while (text.size() + 5 <= bytes) text += "a漢";
  text.append(bytes - text.size() - 1, 'b');
  return text + "\"";
}

inline std::vector<std::string> IdsOf(const std::vector<GroupRecord>& groups) {
  std::vector<std::string> ids;
  for (const GroupRecord& group : groups) ids.push_back(group.id.value());
  return ids;
}

}  // namespace holdfast::testing
