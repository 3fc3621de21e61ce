// Empty: device.h has what kernels use of it. The file exists so that `#include <cooperative_groups.h>` compiles.
