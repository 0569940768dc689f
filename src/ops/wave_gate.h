// Lets the captures of one wave begin together, and tells when the cut of all of them is behind.

#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>

#include "base/clock.h"
#include "base/result.h"

namespace holdfast {

/// Shared by the wave and its captures. Thread-safe.
class WaveGate {
 public:
  WaveGate(Clock& clock, std::size_t captures) : clock_(clock), captures_(captures) {}

  /// For the wave: until every capture is prepared (or has failed).
  Status AwaitReady(const CallContext& call);
  /// For the wave: from now on captures send their requests.
  void Open();
  /// For the wave: until the cut of every capture is known and proven, or it has failed.
  Status AwaitSettled(const CallContext& call);

 private:
  friend class GatePass;
  Clock& clock_;
  const std::size_t captures_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::size_t ready_ = 0;
  std::size_t settled_ = 0;
  bool open_ = false;
};

/// One capture's side of the gate. What it has not said when it dies is said then, so that a failed
/// capture never holds up the wave. One thread.
class GatePass {
 public:
  explicit GatePass(WaveGate& gate) : gate_(gate) {}
  ~GatePass() { Settle(); }
  GatePass(const GatePass&) = delete;
  GatePass& operator=(const GatePass&) = delete;

  /// Prepared: waits until the wave opens. Later calls return at once.
  Status AwaitOpen(const CallContext& call);
  /// This capture needs no fence any more.
  void Settle();

 private:
  void SayReady();
  WaveGate& gate_;
  bool ready_ = false;
  bool settled_ = false;
};

}  // namespace holdfast
