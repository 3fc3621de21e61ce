// What a kernel says of its shared memory as it passes the declarations: shared_declarations.py writes the calls.
#pragma once
#include <cstddef>

#include "runtime.h"

namespace simulator {

inline __attribute__((always_inline)) const void* plain(const volatile void* address) {
  return const_cast<const void*>(address);
}

constexpr size_t most(size_t first) { return first; }
constexpr size_t most(size_t first, auto... others) {
  const size_t rest = most(others...);
  return first > rest ? first : rest;
}

// A static variable, and the alignment that its declaration promises.
void note_shared(const void* begin, size_t bytes, size_t alignment);

// An array in dynamic shared memory that begins where a pointer was declared to point.
void note_carving(unsigned id, const char* name, const void* begin, size_t element_bytes);
void check_carving(unsigned id, const void* begin, const void* element);

#ifdef __SANITIZE_THREAD__

template <size_t alignment, class T>
inline __attribute__((always_inline)) void declare_shared(const T& variable) {
  note_shared(plain(&variable), sizeof variable, alignment);
}

template <class T>
inline __attribute__((always_inline)) void carve(unsigned id, const char* name, T* begin) {
  note_carving(id, name, plain(begin), sizeof(T));
}
inline void carve(unsigned, const char*, auto) {}  // a number that was computed from the array's

template <class T>
struct Carved {
  T* begin;
  unsigned id;
  inline __attribute__((always_inline)) T& operator[](auto i) const {
    check_carving(id, plain(begin), plain(begin + i));
    return begin[i];
  }
};
template <class T>
inline __attribute__((always_inline)) Carved<T> carved(T* begin, unsigned id) {
  return {begin, id};
}
template <class T>
inline T& carved(T& other, unsigned) {  // a variable of the same name that is no pointer
  return other;
}

#else

template <size_t>
inline void declare_shared(const auto&) {}
inline void carve(unsigned, const char*, const auto&) {}
template <class T>
inline __attribute__((always_inline)) T& carved(T& begin, unsigned) {
  return begin;
}

#endif

}  // namespace simulator
