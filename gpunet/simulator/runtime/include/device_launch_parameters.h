// Empty: device.h has what kernels use of it. The file is here so that `#include <cuda_runtime.h>` finds one.
