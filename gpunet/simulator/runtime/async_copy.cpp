// The queues of asynchronous copies. Kernel code adds and removes the entries (async_copy.h).
#include <algorithm>

#include "block.h"

namespace simulator {

CopyQueue* copies;

void make_room_for_copies() {
  std::vector<Copy>& room = thread->room_for_copies;
  const size_t count = copies->end - copies->first;
  std::copy(copies->first, copies->end, room.data());
  if (2 * count >= room.size()) room.resize(std::max<size_t>(16, 2 * room.size()));
  *copies = {room.data(), room.data() + count, room.data() + room.size(), copies->groups};
}

void forget_copies(Thread& t) {
  std::vector<Copy>& room = t.room_for_copies;
  t.copies = {room.data(), room.data(), room.data() + room.size(), 0};
}

}  // namespace simulator
