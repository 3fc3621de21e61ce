#include "reports.h"

#include "shared_memory.h"

namespace simulator {
namespace {

const BufferArgument* buffer_at(const char* address) {
  for (const BufferArgument* b = launch->buffers; b != launch->buffers + launch->buffer_count; ++b)
    if (address >= b->begin && address < b->begin + b->bytes) return b;
  return nullptr;
}

std::string kind_of(bool write, bool atomic) { return atomic ? "atomic access" : write ? "write" : "read"; }

std::string by_whom(const Access& access, uint32_t place) {
  return " at " + place_text(place - 1) + " by " + describe(access.block(), access.thread());
}

std::string described(const MemoryAccess& a, const Access& by) {
  return ": " + kind_of(a.write, a.atomic) + " of " + bytes_text(a.bytes) + by_whom(by, a.place) + ": ";
}

std::string race(const MemoryAccess& a, const Access& now, const Access& other) {
  return "race" + described(a, now) + memory_at(a.address) + "; not ordered with the " +
         kind_of(other.write(), other.atomic()) + by_whom(other, other.place());
}

}  // namespace

std::string memory_at(const char* address) {
  const uint64_t offset = address - static_shared.begin;
  if (offset < static_shared.bytes)
    return "shared memory {static " + std::to_string(launch->static_shared_offset + offset) + "}";
  const uint64_t dynamic_offset = address - dynamic_shared;
  if (dynamic_offset < launch->dynamic_shared_bytes)
    return "dynamic shared memory at byte " + std::to_string(dynamic_offset);
  if (const BufferArgument* buffer = buffer_at(address))
    return std::string(buffer->name) + " at byte " + std::to_string(address - buffer->begin);
  return "memory outside the kernel's arguments";
}

std::string nearest(const char* address) {
  int64_t smallest = 1 << 16;
  std::string text = "an address that no argument of the kernel covers";
  auto consider = [&](const std::string& name, const char* begin, int64_t bytes) {
    const int64_t offset = address - begin, gap = offset < 0 ? -offset : offset - bytes;
    if (gap < 0 || gap >= smallest) return;
    smallest = gap;
    text = "byte " + std::to_string(offset) + " of " + name + ", which has " + bytes_text(bytes);
  };
  for (const BufferArgument* b = launch->buffers; b != launch->buffers + launch->buffer_count; ++b)
    consider(b->name, b->begin, b->bytes);
  consider("the static shared memory", static_shared.begin, static_shared.bytes);
  consider("the dynamic shared memory", dynamic_shared, launch->dynamic_shared_bytes);
  return text;
}

void report(Grade grade, const char* kind, const std::string& where, const MemoryAccess& a) {
  if (std::string* finding = new_finding(grade, kind, a.place))
    *finding = kind + described(a, running.now) + where;
}

void report_race(Grade grade, const MemoryAccess& a, const Access& other) {
  if (std::string* finding = new_finding(grade, "race", a.place, other.place()))
    *finding = race(a, running.now, other) + (grade == Grade::warning ? ", which wrote the same value" : "");
}

void correct_race(const MemoryAccess& a, const Access& now, const Access& other) {
  if (std::string* finding = make_error("race", a.place, other.place())) *finding = race(a, now, other);
}

}  // namespace simulator
