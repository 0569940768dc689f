#include "plan/restore_names.h"

#include <algorithm>
#include <map>

namespace holdfast {
namespace {

/// Longest name Qdrant creates (reference 2.2).
constexpr std::size_t kNameCharactersMax = 255;
constexpr std::string_view kForbidden = "<>:\"/\\|?*\x1f";

const Collection* AliasOwner(const Topology& target, const std::string& alias) {
  for (const Collection& collection : target.collections) {
    if (std::ranges::find(collection.aliases, alias) != collection.aliases.end()) {
      return &collection;
    }
  }
  return nullptr;
}

}  // namespace

Status CheckCollectionName(const std::string& name) {
  // The last two made a real server answer 500, and its consensus ended soon after (run).
  const bool bad = name.empty() || name.size() > kNameCharactersMax || name == "." ||
                   name == ".." || name.find_first_of(kForbidden) != std::string::npos ||
                   name.find('\0') != std::string::npos;
  if (!bad) return {};
  return Error(ErrorCode::kInvalidArgument, "'" + name + "' is no collection name",
               "use 1 to 255 characters, none of < > : \" / \\ | ? *");
}

Status RestoreNamer::Name(const Collection& source, CollectionPlan& plan) {
  const auto renamed = request_.rename.find(source.name);
  const std::string wanted = renamed == request_.rename.end() ? source.name : renamed->second;
  const std::string beside = BesideName(wanted, group_);
  const bool taken = target_.FindCollection(wanted) != nullptr;
  const Collection* behind_alias = AliasOwner(target_, wanted);
  if (behind_alias != nullptr) {
    // Readers use the wanted name as an alias: built beside, then switched.
    plan.naming = Naming::kBesideAlias;
    plan.target = beside;
    plan.aliases = {wanted};
  } else if (!taken) {
    plan.naming = request_.hidden ? Naming::kHidden : Naming::kFree;
    plan.target = request_.hidden ? beside : wanted;
    // Nobody reads a half-filled collection: the name becomes an alias once it is verified.
    if (request_.hidden) plan.aliases = {wanted};
  } else if (request_.in_place) {
    plan.naming = Naming::kInPlace;
    plan.target = wanted;
    // Dropping a collection drops its aliases (reference 2.2), also those the group does not
    // know.
    plan.aliases = target_.FindCollection(wanted)->aliases;
  } else if (const auto& live = target_.FindCollection(wanted)->aliases;
             renamed == request_.rename.end() && !live.empty()) {
    // Who reads through any of its aliases is to find what is restored.
    plan.naming = Naming::kBesideAlias;
    plan.target = beside;
    plan.aliases = live;
  } else if (request_.hidden) {
    plan.naming = Naming::kHidden;
    plan.target = beside;
  } else {
    findings_.Problem(
        "the target has a collection '" + wanted + "' that is not read through an alias",
        "restore it under another name with --as " + source.name +
            "=NEW, or replace it with --in-place");
    plan.target = wanted;
  }
  // Only aliases that are free or point at what is being replaced: others are somebody's choice.
  const bool left_beside = plan.naming == Naming::kHidden && taken;
  if (!left_beside && renamed == request_.rename.end()) AddAliases(source, plan);
  if (plan.target != wanted) {
    HF_RETURN_IF_ERROR(CheckCollectionName(plan.target));
    if (target_.FindCollection(plan.target) != nullptr ||
        AliasOwner(target_, plan.target) != nullptr) {
      findings_.Problem("the target already has '" + plan.target + "'",
                        "drop it if it is left over from an earlier restore");
    }
  }
  return {};
}

void RestoreNamer::PlanKeys(const CollectionRecord& record, CollectionPlan& plan) {
  if (!record.collection.custom_sharding) return;
  if (plan.copy_shards != 0) {
    // Points find their shards anew, so ids do not matter.
    for (const ShardKey& key : record.collection.shard_keys) {
      plan.keys.push_back({.key = key, .shards = plan.copy_shards, .filler = false});
    }
    return;
  }
  std::uint32_t next = 1;
  std::uint32_t fillers = 0;
  const auto filler_key = [&] {
    for (;;) {
      ShardKey key("holdfast-filler-" + std::to_string(fillers++));
      const auto& used = record.collection.shard_keys;
      if (std::ranges::find(used, key) == used.end()) return key;
    }
  };
  for (const ShardKey& key : record.collection.shard_keys) {
    std::vector<std::uint32_t> ids;
    for (const Shard& shard : record.collection.shards) {
      if (shard.key == key) ids.push_back(shard.id.value());
    }
    if (ids.empty()) continue;
    if (ids.back() - ids.front() + 1 != ids.size() || ids.front() < next) {
      findings_.Problem("the shard ids of key " + FormatShardKey(key) + " of '" +
                        record.collection.name + "' have gaps, which cannot be made again");
      continue;
    }
    if (ids.front() > next) {
      plan.keys.push_back({.key = filler_key(), .shards = ids.front() - next, .filler = true});
    }
    plan.keys.push_back(
        {.key = key, .shards = static_cast<std::uint32_t>(ids.size()), .filler = false});
    next = ids.back() + 1;
  }
}

void RestoreNamer::CheckNamesTogether(const std::vector<CollectionPlan>& plans) {
  std::map<std::string, std::string> users;
  const auto use = [&](const std::string& name, const std::string& source) {
    const auto [user, first] = users.try_emplace(name, source);
    if (first) return;
    findings_.Problem(
        "'" + user->second + "' and '" + source + "' would both be read as '" + name + "'",
        "give each its own name with --as, or restore them one by one");
  };
  for (const CollectionPlan& plan : plans) use(plan.target, plan.source);
  for (const CollectionPlan& plan : plans) {
    for (const std::string& alias : plan.aliases) use(alias, plan.source);
  }
}

void RestoreNamer::AddAliases(const Collection& source, CollectionPlan& plan) {
  for (const std::string& alias : source.aliases) {
    if (std::ranges::find(plan.aliases, alias) != plan.aliases.end()) continue;
    if (target_.FindCollection(alias) != nullptr) {
      findings_.warnings.push_back("alias '" + alias +
                                   "' is not set: the target has a collection of "
                                   "that name");
      continue;
    }
    const Collection* owner = AliasOwner(target_, alias);
    if (owner == nullptr || owner->name == source.name || owner->name == plan.target) {
      plan.aliases.push_back(alias);
    } else {
      findings_.warnings.push_back("alias '" + alias + "' is not switched: it points to '" +
                                   owner->name + "' now");
    }
  }
}

std::string BesideName(const std::string& name, const GroupId& group) {
  return NameBeside(name, group.value());
}

std::string NameBeside(const std::string& name, std::string_view suffix) {
  const std::string tail = "__" + std::string(suffix);
  std::string head = name.substr(0, kNameCharactersMax - tail.size());
  // Not in the middle of a UTF-8 character.
  while (!head.empty() && head.size() < name.size() &&
         (static_cast<unsigned char>(name[head.size()]) & 0xc0) == 0x80) {
    head.pop_back();
  }
  return head + tail;
}

}  // namespace holdfast
