#include "ops/wave_gate.h"

#include "exec/wait.h"

namespace holdfast {

Status WaveGate::AwaitReady(const CallContext& call) {
  std::unique_lock lock(mutex_);
  return WaitUntil(call, clock_, changed_, lock, [&] { return ready_ == captures_; });
}

void WaveGate::Open() {
  const std::scoped_lock lock(mutex_);
  open_ = true;
  changed_.notify_all();
}

Status WaveGate::AwaitSettled(const CallContext& call) {
  std::unique_lock lock(mutex_);
  return WaitUntil(call, clock_, changed_, lock, [&] { return settled_ == captures_; });
}

void GatePass::SayReady() {
  if (ready_) return;
  ready_ = true;
  const std::scoped_lock lock(gate_.mutex_);
  ++gate_.ready_;
  gate_.changed_.notify_all();
}

Status GatePass::AwaitOpen(const CallContext& call) {
  SayReady();
  std::unique_lock lock(gate_.mutex_);
  return WaitUntil(call, gate_.clock_, gate_.changed_, lock, [&] { return gate_.open_; });
}

void GatePass::Settle() {
  SayReady();
  if (settled_) return;
  settled_ = true;
  const std::scoped_lock lock(gate_.mutex_);
  ++gate_.settled_;
  gate_.changed_.notify_all();
}

}  // namespace holdfast
