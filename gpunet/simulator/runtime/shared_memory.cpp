#include "shared_memory.h"

#include <link.h>

#include <algorithm>
#include <cstring>

#include "checker.h"
#include "scheduler.h"

namespace simulator {

alignas(1024) char dynamic_shared[kMaxSharedBytes];
StaticShared static_shared;

// `__shared__` variables are `static thread_local`, so that those of a library are contiguous in its TLS block, apart
// from all other variables. (A section attribute would do the same, but g++ ignores it inside templates.)
void find_library(const Launch& launch) {
  dl_iterate_phdr(
      [](dl_phdr_info* library, size_t, void* code) {
        const auto address = reinterpret_cast<uintptr_t>(code);
        bool inside = false;
        uintptr_t end = 0;
        for (int i = 0; i < library->dlpi_phnum; ++i) {
          const auto& segment = library->dlpi_phdr[i];
          const uintptr_t begin = library->dlpi_addr + segment.p_vaddr;
          if (segment.p_type == PT_LOAD) {
            inside |= address - begin < segment.p_memsz;
            end = std::max(end, begin + segment.p_memsz);
          }
        }
        if (inside) {
          static_shared = {static_cast<char*>(library->dlpi_tls_data), 0};
          running.library_begin = reinterpret_cast<char*>(library->dlpi_addr);
          running.library_end = reinterpret_cast<char*>(end);
        }
        return static_cast<int>(inside);
      },
      reinterpret_cast<void*>(launch.kernel->call));
  static_shared.begin += launch.static_shared_offset;
  static_shared.bytes = launch.static_shared_bytes;
}

// On a GPU shared memory is uninitialized. Fill it with ones, which read as NaN, so that the results show it.
void fresh_shared_memory(size_t dynamic_bytes) {
  if (static_shared.bytes) std::memset(static_shared.begin, 0xff, static_shared.bytes);
  std::memset(dynamic_shared, 0xff, dynamic_bytes);
  checker::forget_shared();
}

void save_shared_memory(SavedShared& saved, size_t dynamic_bytes) {
  saved.static_bytes.assign(static_shared.begin, static_shared.begin + static_shared.bytes);
  saved.dynamic_bytes.assign(dynamic_shared, dynamic_shared + dynamic_bytes);
  saved.initialized = checker::shared_initialized();
}

void restore_shared_memory(const SavedShared& saved) {
  std::memcpy(static_shared.begin, saved.static_bytes.data(), saved.static_bytes.size());
  std::memcpy(dynamic_shared, saved.dynamic_bytes.data(), saved.dynamic_bytes.size());
  checker::shared_initialized() = saved.initialized;
}

}  // namespace simulator
