#include "shared_arrays.h"

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

struct SharedArray {
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
std::vector<SharedArray> shared_arrays;
std::vector<Suspicion> suspicions;

// Returns the number of the other array that begins between `array` and `element`, or -1.
int entered(const SharedArray& array, const char* element) {
  const ptrdiff_t least = kLeastElements * array.element_bytes;
  for (size_t id = 0; id < shared_arrays.size(); ++id) {
    const SharedArray& other = shared_arrays[id];
    if (!other.uniform || element < other.begin) continue;
    const ptrdiff_t gap = other.begin - array.begin;
    if (gap >= least || (-gap >= least && element < array.begin)) return id;
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

void forget_shared_arrays() {
  shared_arrays.clear();
  suspicions.clear();
}

void note_shared(const void* begin, size_t bytes, size_t alignment) {
  if (declared_at(static_cast<const char*>(begin))) return;
  least_alignment = std::min(least_alignment, alignment);
  const size_t end = declared.empty() ? 0 : declared.back().device_offset + declared.back().bytes;
  declared.push_back({static_cast<const char*>(begin), bytes, alignment, (end + alignment - 1) / alignment * alignment});
}

void note_shared_array(unsigned id, const char* name, const void* begin, size_t element_bytes) {
  if (id >= shared_arrays.size()) shared_arrays.resize(id + 1);
  SharedArray& array = shared_arrays[id];
  const bool inside = static_cast<uint64_t>(static_cast<const char*>(begin) - dynamic_shared) < launch->dynamic_shared_bytes;
  const bool uniform = inside && (!array.name || (array.uniform && array.begin == begin));
  if (!uniform && array.uniform) retract_suspicions(id);
  array = {name, static_cast<const char*>(begin), element_bytes, uniform};
}

void check_shared_array(unsigned id, const void* begin, const void* element) {
  if (id >= shared_arrays.size() || shared_arrays[id].begin != begin || !shared_arrays[id].uniform) return;
  const SharedArray& array = shared_arrays[id];
  const int number = entered(array, static_cast<const char*>(element));
  if (number < 0) return;
  const uint32_t place = static_cast<const char*>(__builtin_return_address(0)) - running.library_begin;
  const ptrdiff_t bytes = static_cast<const char*>(element) - array.begin;
  std::string* finding = new_finding(Grade::error, kKind, place, number);
  if (!finding) return;
  *finding = "out of bounds at " + place_text(place - 1) + " by " + describe(running.now.block(), running.now.thread()) +
             ": element " + std::to_string(bytes / static_cast<ptrdiff_t>(array.element_bytes)) + " of " +
             array.name + ", which lies in " + shared_arrays[number].name + "; both are arrays in dynamic shared memory";
  suspicions.push_back({id, static_cast<unsigned>(number), place});
}

}  // namespace simulator
