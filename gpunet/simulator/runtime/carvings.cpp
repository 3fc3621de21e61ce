#include "carvings.h"

#include <algorithm>
#include <string>
#include <vector>

#include "access.h"
#include "findings.h"
#include "shared_layout.h"

namespace simulator {
namespace {

// Pointers closer than this may be views of one array, such as a tile and its interior.
constexpr ptrdiff_t kLeastElements = 8;
constexpr size_t kLargestAlignment = 16;  // that an access requires

struct Carving {
  const char *name = nullptr, *begin = nullptr;
  size_t element_bytes = 0;
  bool uniform = false;  // the array begins at the same address in all threads so far
};

// A finding that may be retracted: threads that have not passed the declaration yet may place an array elsewhere.
struct Suspicion {
  unsigned id, other;
  uint32_t place;
};

constexpr char kKind[] = "out of bounds";

std::vector<DeclaredShared> declared;
std::vector<Carving> carvings;
std::vector<Suspicion> suspicions;

// Returns the number of the array that begins between `carving` and `element`, or -1.
int entered(const Carving& carving, const char* element) {
  const ptrdiff_t least = kLeastElements * carving.element_bytes;
  for (size_t id = 0; id < carvings.size(); ++id) {
    const Carving& other = carvings[id];
    if (!other.uniform || element < other.begin) continue;
    const ptrdiff_t gap = other.begin - carving.begin;
    if (gap >= least || (-gap >= least && element < carving.begin)) return id;
  }
  return -1;
}

void retract_suspicions(unsigned id) {
  for (Suspicion& s : suspicions)
    if (s.place && (s.id == id || s.other == id)) {
      retract(kKind, s.place, s.other);
      s.place = 0;
    }
}

}  // namespace

const DeclaredShared* declared_at(const char* address) {
  for (const DeclaredShared& d : declared)
    if (address >= d.begin && address < d.begin + d.bytes) return &d;
  return nullptr;
}

size_t least_alignment;

void forget_declared() {
  declared.clear();
  least_alignment = kLargestAlignment;
}

void forget_carvings() {
  carvings.clear();
  suspicions.clear();
}

void note_shared(const void* begin, size_t bytes, size_t alignment) {
  if (declared_at(static_cast<const char*>(begin))) return;
  least_alignment = std::min(least_alignment, alignment);
  const size_t end = declared.empty() ? 0 : declared.back().device_offset + declared.back().bytes;
  declared.push_back({static_cast<const char*>(begin), bytes, alignment, (end + alignment - 1) / alignment * alignment});
}

void note_carving(unsigned id, const char* name, const void* begin, size_t element_bytes) {
  if (id >= carvings.size()) carvings.resize(id + 1);
  Carving& carving = carvings[id];
  const bool inside = static_cast<uint64_t>(static_cast<const char*>(begin) - dynamic_shared) < launch->dynamic_shared_bytes;
  const bool uniform = inside && (!carving.name || (carving.uniform && carving.begin == begin));
  if (!uniform && carving.uniform) retract_suspicions(id);
  carving = {name, static_cast<const char*>(begin), element_bytes, uniform};
}

void check_carving(unsigned id, const void* begin, const void* element) {
  if (id >= carvings.size() || carvings[id].begin != begin || !carvings[id].uniform) return;
  const Carving& carving = carvings[id];
  const int number = entered(carving, static_cast<const char*>(element));
  if (number < 0) return;
  const uint32_t place = static_cast<const char*>(__builtin_return_address(0)) - running.library_begin;
  const ptrdiff_t bytes = static_cast<const char*>(element) - carving.begin;
  std::string* finding = new_finding(Grade::error, kKind, place, number);
  if (!finding) return;
  *finding = "out of bounds at " + place_text(place - 1) + " by " + describe(running.now.block(), running.now.thread()) +
             ": element " + std::to_string(bytes / static_cast<ptrdiff_t>(carving.element_bytes)) + " of " +
             carving.name + ", which lies in " + carvings[number].name + "; both are arrays in dynamic shared memory";
  suspicions.push_back({id, static_cast<unsigned>(number), place});
}

}  // namespace simulator
