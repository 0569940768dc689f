#include "engine/qdrant/at_once.h"

#include <algorithm>
#include <atomic>

#include "exec/thread_group.h"

namespace holdfast::qdrant {

Status ForEach(const CallContext& call, std::size_t count,
               const std::function<Status(const CallContext&, std::size_t)>& work,
               std::size_t at_once) {
  std::atomic<std::size_t> next = 0;
  const auto run = [&](const CallContext& inner) -> Status {
    for (std::size_t i = next++; i < count; i = next++) {
      if (inner.stop.stop_requested()) return Error(ErrorCode::kCancelled, "stopped");
      HF_RETURN_IF_ERROR(work(inner, i));
    }
    return {};
  };
  if (count <= 1) return run(call);
  ThreadGroup threads(call);
  for (std::size_t i = 0; i < std::min(count, at_once); ++i) {
    HF_RETURN_IF_ERROR(threads.Start(run));
  }
  return threads.Join();
}

}  // namespace holdfast::qdrant
