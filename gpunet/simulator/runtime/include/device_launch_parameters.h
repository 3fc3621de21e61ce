// Empty: device.h has what kernels use of it. The file exists so that `#include <device_launch_parameters.h>` compiles.
