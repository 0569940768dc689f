// Lists of keys, page by page.

#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "store/object_store.h"

namespace holdfast {

/// Visits all objects whose keys begin with `prefix`, in ascending order, a page in memory at a
/// time. `visit`'s error ends it.
Status VisitObjects(const CallContext& call, ObjectStore& store, std::string_view prefix,
                    const std::function<Status(const StoredObject&)>& visit);

/// The first object of each attempt below a folder of the form "<folder>/<group>/...", in ascending
/// order: one list call an attempt, however many objects it has.
Status VisitAttempts(const CallContext& call, ObjectStore& store, std::string_view folder,
                     const std::function<Status(const GroupId&, const StoredObject& first)>& visit);

}  // namespace holdfast
