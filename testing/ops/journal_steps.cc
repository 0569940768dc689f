#include "testing/ops/journal_steps.h"

#include "model/json.h"

namespace holdfast::testing {

bool IsJson(std::string_view text) { return json::Parse(text, "a detail").ok(); }

}  // namespace holdfast::testing
