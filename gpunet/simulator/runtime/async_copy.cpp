// The queues of asynchronous copies; the kernel's own code carries them out.
#include "access.h"
#include "block.h"
#include "checker.h"

namespace simulator {
namespace {

MemoryAccess issue_at(const void* address, bool write, const Copy& copy) {
  return {.address = static_cast<char*>(const_cast<void*>(address)),
          .bytes = copy.bytes,
          .place = copy.place,
          .write = write,
          .issue = true};
}

}  // namespace

void issue_copy(void* shared, const void* global, unsigned bytes) {
  const Copy copy{shared, global, bytes, thread->copies.groups, place_of(__builtin_return_address(0))};
  if constexpr (kChecked) {
    check_access(issue_at(shared, true, copy));
    if (global) check_access(issue_at(global, false, copy));
  }
  thread->copies.queue.push_back(copy);
}

void commit_copies() { ++thread->copies.groups; }

CopyRange arriving_copies(unsigned pending) {
  auto& [queue, arrived, groups] = thread->copies;
  queue.erase(queue.begin(), queue.begin() + arrived);
  arrived = 0;
  while (arrived < queue.size() && queue[arrived].group + pending < groups) ++arrived;
  return {queue.data(), queue.data() + arrived};
}

void leave_copies() {
  if constexpr (kChecked) {
    const auto& [queue, arrived, groups] = thread->copies;
    if (arrived < queue.size()) report_never_arrived(issue_at(queue[arrived].shared, true, queue[arrived]));
  }
}

}  // namespace simulator
