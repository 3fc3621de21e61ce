// Calls that pass a kernel's declarations of shared memory to the checker; shared_declarations.py inserts them.
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

// Notes a static variable and the alignment that its declaration guarantees.
void note_shared(const void* begin, size_t bytes, size_t alignment);

// Notes an array in dynamic shared memory, which begins where the declared pointer points.
void note_shared_array(unsigned id, const char* name, const void* begin, size_t element_bytes);
void check_shared_array(unsigned id, const void* begin, const void* element);

static thread_local char shared_anchor;  // ensures that the library has a TLS block

// PTX has 32-bit addresses of shared memory. Here those of dynamic shared memory begin at 0, and those of static shared
// memory are near kStaticAddress; both keep their alignment.
constexpr unsigned kStaticAddress = 1u << 20;

inline char* static_base() {
  return reinterpret_cast<char*>(reinterpret_cast<uintptr_t>(&shared_anchor) / 1024 * 1024 - kStaticAddress);
}
inline size_t shared_address(const volatile void* pointer) {
  const auto* p = static_cast<const volatile char*>(pointer);
  const size_t in_dynamic = p - dynamic_shared;
  return in_dynamic <= kMaxSharedBytes ? in_dynamic : static_cast<unsigned>(p - static_base());
}
inline char* shared_pointer(size_t address) {
  return address < kStaticAddress / 2 ? dynamic_shared + address : static_base() + address;
}
inline bool is_shared(const volatile void* pointer) { return shared_pointer(shared_address(pointer)) == pointer; }

#ifdef __SANITIZE_THREAD__

template <size_t alignment, class T>
inline __attribute__((always_inline)) void declare_shared(const T& variable) {
  note_shared(plain(&variable), sizeof variable, alignment);
}

template <class T>
inline __attribute__((always_inline)) void carve(unsigned id, const char* name, T* begin) {
  note_shared_array(id, name, plain(begin), sizeof(T));
}
inline void carve(unsigned, const char*, auto) {}  // not a pointer, but a number computed from an element

template <class T>
struct Carved {
  T* begin;
  unsigned id;
  inline __attribute__((always_inline)) T& operator[](auto i) const {
    check_shared_array(id, plain(begin), plain(begin + i));
    return begin[i];
  }
};
template <class T>
inline __attribute__((always_inline)) Carved<T> carved(T* begin, unsigned id) {
  return {begin, id};
}
template <class T>
inline T& carved(T& other, unsigned) {  // another variable of the same name, not a pointer
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

inline size_t __cvta_generic_to_shared(const volatile void* pointer) { return simulator::shared_address(pointer); }
inline void* __cvta_shared_to_generic(size_t address) { return simulator::shared_pointer(address); }
inline size_t __cvta_generic_to_global(const void* pointer) { return reinterpret_cast<size_t>(pointer); }
inline void* __cvta_global_to_generic(size_t address) { return reinterpret_cast<void*>(address); }
inline unsigned __isShared(const void* pointer) { return simulator::is_shared(pointer); }
inline unsigned __isGlobal(const void* pointer) { return !simulator::is_shared(pointer); }
