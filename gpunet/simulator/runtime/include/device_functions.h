// Empty: device.h declares what kernels use of this header. The file exists so that `#include <device_functions.h>` compiles.
