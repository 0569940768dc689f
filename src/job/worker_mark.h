// Who runs a job, so that another process of the same machine can prove that it is gone.

#pragma once

#include <string>
#include <string_view>

namespace holdfast {

/// Names this process so that no other one, before or after, has the same mark: start of the
/// machine, process namespace, user, process id and the start of the process. Without spaces.
std::string ThisWorkerMark();

/// "db1 pid 4711 [mark]", for people and for IsProvenGone().
std::string ThisWorker();

/// True only when `owner` ends with a mark of this machine start, process namespace and user whose
/// process has ended with all of its threads, and no helper lives that was started for it: a
/// process with the mark as an argument (the thaw watchdog still releases writers). In every other
/// case, also when that cannot be found out, it is false: then the lease's expiry decides.
bool IsProvenGone(std::string_view owner);

}  // namespace holdfast
