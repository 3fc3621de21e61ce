// The checker of mode "check". In mode "fast" these functions are empty.
#pragma once
#include <cstdint>
#include <vector>

namespace simulator {

#ifdef GPUNET_CHECKED
constexpr bool kChecked = true;
#else
constexpr bool kChecked = false;
#endif

namespace checker {

#ifdef GPUNET_CHECKED
void begin_launch();
void begin_block();
void exit_thread();
void settle();  // the running thread has executed its last checked access
void forget_shared();
void pass_grid_barrier();
std::vector<uint8_t>& shared_initialized();
#else
inline void begin_launch() {}
inline void begin_block() {}
inline void exit_thread() {}
inline void settle() {}
inline void forget_shared() {}
inline void pass_grid_barrier() {}
inline std::vector<uint8_t>& shared_initialized() {
  static std::vector<uint8_t> none;
  return none;
}
#endif

}  // namespace checker
}  // namespace simulator
