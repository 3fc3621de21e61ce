// Empty: device.h has what kernels use of it. The file exists so that `#include <cuda.h>` compiles.
