#include "store/probe.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "base/bytes.h"

namespace holdfast {
namespace {

constexpr Duration kCleanUpTime = std::chrono::seconds(10);

std::string Advice(const Error& error) {
  return error.hint().empty() ? error.message() : error.message() + "; " + error.hint();
}

Bytes Body(std::string_view text) { return ToBytes(AsBytes(text)); }

class Probe {
 public:
  Probe(const CallContext& call, ObjectStore& store, const std::string& name)
      : call_(call),
        store_(store),
        prefix_("probe-" + name + "-"),
        first_(prefix_ + "a"),
        second_(prefix_ + "b") {}

  /// True when there is anything to go on with.
  bool Write() {
    const Status put = store_.Put(call_, first_, Body("0123456789"), PutMode::kReplace);
    return Note("write", put);
  }

  void Read() {
    const auto whole = store_.Get(call_, first_);
    NoteBytes("read", whole, "0123456789");
    const auto part = store_.Get(call_, first_, ByteRange{.offset = 3, .size = 4});
    NoteBytes("ranged_read", part, "3456");
    const auto stat = store_.Stat(call_, first_);
    if (Note("stat", stat) && stat->size != 10) Spoil("another size than what was written");
  }

  void Listed() {
    if (Note("list_after_write", store_.Put(call_, second_, Body("b"), PutMode::kReplace))) {
      Compare({first_, second_}, "what was just written is not listed");
    }
  }

  void Replace() {
    if (Note("replace", store_.Put(call_, first_, Body("new"), PutMode::kReplace))) {
      const auto got = store_.Get(call_, first_);
      if (!got.ok()) {
        Spoil(Advice(got.error()));
      } else if (AsText(*got) != "new") {
        Spoil("the old bytes came back after a put");
      }
    }
  }

  void ConditionalPut() {
    const Status put = store_.Put(call_, first_, Body("never"), PutMode::kIfAbsent);
    StoreFinding finding{.what = "conditional_put", .ok = false, .optional = true, .detail = {}};
    if (put.ok()) {
      finding.detail = "an object that was there has been overwritten; nothing here relies on it";
    } else if (put.error().code() == ErrorCode::kAlreadyExists) {
      finding.ok = true;
    } else {
      finding.detail = Advice(put.error());
    }
    findings_.push_back(std::move(finding));
  }

  void Delete() {
    if (!Note("delete", store_.Delete(call_, first_))) {
      Spoil(findings_.back().detail + "; " + first_ + " is left behind");
      return;
    }
    if (!Note("list_after_delete", store_.Delete(call_, second_))) {
      Spoil(findings_.back().detail + "; " + second_ + " is left behind");
      return;
    }
    const auto got = store_.Get(call_, first_);
    if (got.ok() || got.error().code() != ErrorCode::kNotFound) {
      Spoil("what was deleted can still be read");
    } else {
      Compare({}, "what was deleted is still listed");
    }
  }

  /// Whatever happened before.
  void CleanUp(const CallContext& call) {
    // Already reported by Delete(), or the caller has gone.
    static_cast<void>(store_.Delete(call, first_).ok());
    static_cast<void>(store_.Delete(call, second_).ok());
  }

  std::vector<StoreFinding> Take() { return std::move(findings_); }

 private:
  template <class T>
  bool Note(const char* what, const Result<T>& result) {
    findings_.push_back({.what = what,
                         .ok = result.ok(),
                         .optional = false,
                         .detail = result.ok() ? "" : Advice(result.error())});
    return result.ok();
  }

  void NoteBytes(const char* what, const Result<Bytes>& got, std::string_view expected) {
    if (Note(what, got) && AsText(*got) != expected) Spoil("other bytes than what was written");
  }

  /// The last finding is not ok after all.
  void Spoil(std::string why) {
    findings_.back().ok = false;
    findings_.back().detail = std::move(why);
  }

  void Compare(const std::vector<std::string>& expected, const char* otherwise) {
    const auto page = store_.List(call_, prefix_, "");
    if (!page.ok()) {
      Spoil(Advice(page.error()));
      return;
    }
    if (!std::ranges::equal(*page, expected, {}, &StoredObject::key)) Spoil(otherwise);
  }

  const CallContext& call_;
  ObjectStore& store_;
  const std::string prefix_;
  const std::string first_;
  const std::string second_;
  std::vector<StoreFinding> findings_;
};

}  // namespace

bool StoreReport::usable() const noexcept {
  return std::ranges::all_of(findings, [](const StoreFinding& f) { return f.ok || f.optional; });
}

Result<StoreReport> ProbeStore(const CallContext& call, ObjectStore& store, Clock& clock,
                               SecureRandom& random) {
  Probe probe(call, store, ToHex(ByteView(random.Draw<8>())));
  if (probe.Write()) {
    probe.Read();
    probe.Listed();
    probe.Replace();
    probe.ConditionalPut();
    probe.Delete();
  }
  if (auto ended = clock.Check(call); !ended.ok()) {
    probe.CleanUp(clock.Within({}, kCleanUpTime));
    return std::move(ended).error().While("check " + store.Describe());
  }
  StoreReport report{probe.Take()};
  if (!report.usable()) probe.CleanUp(clock.Within(call, kCleanUpTime));
  return report;
}

}  // namespace holdfast
