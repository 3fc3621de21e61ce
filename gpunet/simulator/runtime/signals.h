// Turns CPU exceptions in a kernel into findings.
#pragma once

namespace simulator {

// While this object exists, a signal that an instruction of a kernel raises (unmapped address, division by zero, stack
// overflow) ends the launch, not the process. Other signals go to the previous handlers.
class SignalsOfKernels {
 public:
  SignalsOfKernels();
  ~SignalsOfKernels();
};

}  // namespace simulator
