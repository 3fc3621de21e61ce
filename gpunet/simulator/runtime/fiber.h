// Fibers: stacks that one host thread switches between, one for each CUDA thread that waits for something.
#pragma once
#include <cstddef>

namespace simulator {

struct Fiber {
  char* stack_begin;
  char* stack_end;
  void* stack_pointer;  // where it stopped, while it does not run
};

// Returns a fiber that will run `main`, which must never return; null where there is no memory for its stack. Fibers
// come from a pool and are never freed.
Fiber* take_fiber(void (*main)());
void give_back_fiber(Fiber* fiber);

// Stops the running code, which goes on when its saved stack pointer is switched to.
extern "C" void gpunet_switch(void** save, void* load);

}  // namespace simulator
