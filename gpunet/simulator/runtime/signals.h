// What the processor refuses a kernel becomes a finding.
#pragma once

namespace simulator {

// While this lives, a signal that a kernel's own instruction raises (an address without memory, a division by zero, a
// full stack) ends the launch, not the process. Any other goes to whoever was there before.
class SignalsOfKernels {
 public:
  SignalsOfKernels();
  ~SignalsOfKernels();
};

}  // namespace simulator
