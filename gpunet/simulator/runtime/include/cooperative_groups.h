// Empty: device.h has what kernels use of it. The file is here so that `#include <cooperative_groups.h>` finds one.
