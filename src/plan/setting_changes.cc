#include "plan/setting_changes.h"

#include <map>
#include <string_view>
#include <utility>

#include "model/json.h"

namespace holdfast {
namespace {

using json::Json;

constexpr const char* kNotSet = "the server's default";
constexpr std::string_view kQuantization = "quantization_config.";

using Settings = std::map<std::string, Json>;

/// Every value that is no object and not null, by the names that lead to it.
void Flatten(const Json& value, const std::string& name, Settings& into) {
  if (value.is_object()) {
    for (const auto& [member, inner] : value.items()) {
      std::string path = name;
      if (!path.empty()) path += '.';
      Flatten(inner, path += member, into);
    }
  } else if (!value.is_null()) {
    into[name] = value;
  }
}

Settings SettingsOf(const std::string& document) {
  Settings settings;
  const auto parsed = json::Parse(document, "the settings");
  if (parsed.ok()) Flatten(*parsed, "", settings);
  settings.erase("shard_number");
  return settings;
}

/// Servers keep some numbers with the precision of a float.
bool Same(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number()) {
    return a == b || (a.is_number_float() && a.get<float>() == b.get<float>()) ||
           (b.is_number_float() && a.get<float>() == b.get<float>());
  }
  return a == b;
}

const Json* Find(const Settings& settings, const std::string& name) {
  const auto found = settings.find(name);
  return found == settings.end() ? nullptr : &found->second;
}

/// A server that is told "auto" shows nothing (reference 2.3, measured 9).
bool IsUnset(const Json* value) { return value == nullptr || *value == Json("auto"); }

void AddChanges(const std::string& before, const std::string& after, bool at_end,
                std::vector<SettingChange>& changes) {
  const Settings was = SettingsOf(before);
  const Settings is = SettingsOf(after);
  Settings all = was;
  all.insert(is.begin(), is.end());
  for (const auto& [name, ignored] : all) {
    const Json* const old = Find(was, name);
    const Json* const now = Find(is, name);
    if (IsUnset(old) && IsUnset(now)) continue;
    if (old != nullptr && now != nullptr && Same(*old, *now)) continue;
    changes.push_back({.name = name,
                       .before = old == nullptr ? std::string() : json::Dump(*old),
                       .after = now == nullptr ? std::string() : json::Dump(*now),
                       .at_end = at_end});
  }
}

bool IsQuantization(std::string_view name) {
  return name.starts_with(kQuantization) ||
         name.find("." + std::string(kQuantization)) != std::string_view::npos;
}

}  // namespace

std::vector<SettingChange> SettingChanges(const Collection& before, const Collection& after) {
  std::vector<SettingChange> changes;
  AddChanges(before.create_json, after.create_json, /*at_end=*/false, changes);
  AddChanges(before.finish_json, after.finish_json, /*at_end=*/true, changes);
  return changes;
}

std::vector<std::string> SettingsNotTaken(const std::vector<SettingChange>& changes,
                                          const Collection& now, bool at_end) {
  const Settings there = SettingsOf(at_end ? now.finish_json : now.create_json);
  std::vector<std::string> texts;
  for (const SettingChange& change : changes) {
    if (change.at_end != at_end) continue;
    const Json* const has = Find(there, change.name);
    bool taken = false;
    if (change.after.empty()) {
      taken = has == nullptr || !IsQuantization(change.name);
    } else {
      const auto wanted = json::Parse(change.after, "a setting");
      taken =
          wanted.ok() && (IsUnset(&*wanted) ? IsUnset(has) : has != nullptr && Same(*wanted, *has));
    }
    if (taken) continue;
    texts.push_back("'" + change.name + "' is " + (has == nullptr ? "not set" : json::Dump(*has)) +
                    " instead of " + (change.after.empty() ? "removed" : change.after));
  }
  return texts;
}

std::string DescribeChange(const SettingChange& change) {
  return change.name + ": " + (change.before.empty() ? kNotSet : change.before) + " -> " +
         (change.after.empty() ? kNotSet : change.after);
}

}  // namespace holdfast
