// Fibers: stacks between which one host thread switches, one for each CUDA thread that waits.
#pragma once
#include <cstddef>

namespace simulator {

struct Fiber {
  char* stack_begin;
  char* stack_end;
  void* stack_pointer;  // while the fiber does not run: where to resume it
};

// Returns a fiber that runs `main`, which must never return, or null if there is no memory for the stack. Fibers come
// from a pool and are never freed.
Fiber* take_fiber(void (*main)());
void give_back_fiber(Fiber* fiber);

// Saves the stack pointer of the running code and resumes the code of the other stack pointer.
extern "C" void gpunet_switch(void** save, void* load);

}  // namespace simulator
