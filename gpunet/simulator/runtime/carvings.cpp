#include "carvings.h"

#include <string>
#include <vector>

#include "access.h"
#include "findings.h"
#include "shared_layout.h"

namespace simulator {
namespace {

// Pointers less than this apart may be views of one array, such as a tile and the same without its border.
constexpr ptrdiff_t kLeastElements = 8;

struct Carving {
  const char *name, *begin;
  size_t element_bytes;
  bool uniform;  // all threads of the block have it begin there
};

std::vector<DeclaredShared> declared;
std::vector<Carving> carvings;

// The array whose first byte lies between the two addresses, on the way from `begin` to `element`.
const Carving* entered(const Carving& carving, const char* element) {
  for (const Carving& other : carvings) {
    if (!other.uniform || !other.begin) continue;
    const ptrdiff_t gap = other.begin - carving.begin, least = kLeastElements * carving.element_bytes;
    if (gap >= least && element >= other.begin) return &other;
    if (-gap >= least && element < carving.begin && element >= other.begin) return &other;
  }
  return nullptr;
}

}  // namespace

const DeclaredShared* declared_at(const char* address) {
  for (const DeclaredShared& d : declared)
    if (address >= d.begin && address < d.begin + d.bytes) return &d;
  return nullptr;
}

void forget_declared() { declared.clear(); }
void forget_carvings() { carvings.clear(); }

void note_shared(const void* begin, size_t bytes, size_t alignment) {
  if (declared_at(static_cast<const char*>(begin))) return;
  const size_t end = declared.empty() ? 0 : declared.back().device_offset + declared.back().bytes;
  declared.push_back({static_cast<const char*>(begin), bytes, alignment, (end + alignment - 1) / alignment * alignment});
}

void note_carving(unsigned id, const char* name, const void* begin, size_t element_bytes) {
  if (id >= carvings.size()) carvings.resize(id + 1);
  Carving& carving = carvings[id];
  const bool uniform = !carving.name || (carving.uniform && carving.begin == begin);
  carving = {name, static_cast<const char*>(begin), element_bytes, uniform};
}

void check_carving(unsigned id, const void* begin, const void* element) {
  if (id >= carvings.size() || carvings[id].begin != begin || !carvings[id].uniform) return;
  const Carving& carving = carvings[id];
  const Carving* other = entered(carving, static_cast<const char*>(element));
  if (!other) return;
  const uint32_t place = static_cast<const char*>(__builtin_return_address(0)) - running.library_begin;
  const ptrdiff_t bytes = static_cast<const char*>(element) - carving.begin;
  if (std::string* finding = new_finding(Grade::error, "out of bounds", place))
    *finding = "out of bounds at " + place_text(place - 1) + " by " + describe(running.now.block, running.now.thread) +
               ": element " + std::to_string(bytes / static_cast<ptrdiff_t>(carving.element_bytes)) + " of " +
               carving.name + ", which lies in " + other->name + ", both carved from dynamic shared memory";
}

}  // namespace simulator
