// Empty: device.h has what kernels use of it.
