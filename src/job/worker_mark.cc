#include "job/worker_mark.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <vector>

namespace holdfast {
namespace {

namespace fs = std::filesystem;

/// Fields of /proc/<pid>/stat after the name, which is in parentheses (proc(5)): the state is the
/// third field of the line, the start in clock ticks since boot the twenty-second.
constexpr std::size_t kStateField = 0;
constexpr std::size_t kStartField = 19;

struct ProcessView {
  char state = '?';
  std::string start;
};

std::string FirstLine(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::optional<ProcessView> Look(const std::string& process) {
  const std::string line = FirstLine(fs::path("/proc") / process / "stat");
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream rest(line.substr(name_end + 1));
  const std::vector<std::string> fields{std::istream_iterator<std::string>(rest), {}};
  if (fields.size() <= kStartField) return std::nullopt;
  return ProcessView{.state = fields[kStateField].front(), .start = fields[kStartField]};
}

/// The number of one of this process's namespaces; empty when it cannot be had.
std::string Namespace(const char* kind) {
  std::error_code failed;
  const std::string link = fs::read_symlink(fs::path("/proc/self/ns") / kind, failed).string();
  std::string digits;
  std::ranges::copy_if(link, std::back_inserter(digits),
                       [](char c) { return c >= '0' && c <= '9'; });
  return digits;
}

/// Everything but the process itself: only within one scope can processes be told apart. A time
/// namespace shifts the starts that are read (time_namespaces(7)); older kernels have none.
std::string Scope() {
  const std::string boot = FirstLine("/proc/sys/kernel/random/boot_id");
  const std::string processes = Namespace("pid");
  if (boot.empty() || processes.empty()) return {};
  return fmt::format("{}/{}.{}/{}", boot, processes, Namespace("time"), ::geteuid());
}

std::vector<std::string_view> Split(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t at = text.find('/');
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

/// False when it lives, and when that cannot be told.
bool HasEnded(pid_t process, std::string_view start) {
  const std::string number = std::to_string(process);
  if (::kill(process, 0) != 0) return errno == ESRCH;
  const auto now = Look(number);
  if (!now) return ::kill(process, 0) != 0 && errno == ESRCH;
  if (now->start != start) return true;  // The number has a new owner.
  if (now->state != 'Z' && now->state != 'X') return false;
  // A corpse whose other threads are still within a call could still write.
  std::error_code failed;
  const auto tasks =
      std::distance(fs::directory_iterator(fs::path("/proc") / number / "task", failed), {});
  return !failed && tasks <= 1;
}

bool HasHelper(std::string_view mark) {
  std::error_code failed;
  fs::directory_iterator at("/proc", failed);
  if (failed) return true;
  for (; at != fs::directory_iterator(); at.increment(failed)) {
    if (failed) return true;
    const std::string name = at->path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(at->path() / "cmdline");
    for (std::string argument; std::getline(file, argument, '\0');) {
      if (argument == mark) return true;
    }
  }
  return false;
}

}  // namespace

std::string ThisWorkerMark() {
  const auto self = Look("self");
  const std::string scope = Scope();
  if (!self || scope.empty()) return {};
  return fmt::format("{}/{}/{}", scope, ::getpid(), self->start);
}

std::string ThisWorker() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  const std::string who =
      fmt::format("{} pid {}", host[0] == '\0' ? "unknown host" : host.data(), ::getpid());
  const std::string mark = ThisWorkerMark();
  return mark.empty() ? who : fmt::format("{} [{}]", who, mark);
}

bool IsProvenGone(std::string_view owner) {
  const std::size_t open = owner.rfind('[');
  if (open == std::string_view::npos || owner.back() != ']') return false;
  const std::string_view mark = owner.substr(open + 1, owner.size() - open - 2);
  const auto parts = Split(mark);
  const std::string scope = Scope();
  constexpr std::size_t kParts = 5;
  if (scope.empty() || parts.size() != kParts || !mark.starts_with(scope + "/")) return false;
  pid_t process = 0;
  const std::string_view number = parts[3];
  const auto [end, code] = std::from_chars(number.data(), number.data() + number.size(), process);
  if (code != std::errc() || end != number.data() + number.size() || process <= 0) return false;
  return HasEnded(process, parts[4]) && !HasHelper(mark);
}

}  // namespace holdfast
