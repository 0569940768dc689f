// Under which names and shard keys collections come back. Pure; for this module.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/group.h"
#include "model/topology.h"
#include "plan/plan_findings.h"
#include "plan/restore_plan.h"

namespace holdfast {

/// Of a collection that is to be made; kInvalidArgument says what is allowed.
Status CheckCollectionName(const std::string& name);

/// `<name>__<suffix>`, shortened so that it stays a legal collection name (reference 2.2).
std::string NameBeside(const std::string& name, std::string_view suffix);

class RestoreNamer {
 public:
  RestoreNamer(const GroupId& group, const Topology& target, const RestoreRequest& request,
               PlanFindings& findings)
      : group_(group), target_(target), request_(request), findings_(findings) {}

  /// Sets naming, target and aliases of the plan of `source`.
  Status Name(const Collection& source, CollectionPlan& plan);
  /// Keys in ascending order of their ids, gaps filled (the first custom shard has id 1).
  void PlanKeys(const CollectionRecord& record, CollectionPlan& plan);
  /// Collections and aliases share one space of names, in the cluster and in a plan.
  void CheckNamesTogether(const std::vector<CollectionPlan>& plans);

 private:
  void AddAliases(const Collection& source, CollectionPlan& plan);

  const GroupId& group_;
  const Topology& target_;
  const RestoreRequest& request_;
  PlanFindings& findings_;
};

}  // namespace holdfast
