// Empty: device.h declares what kernels use of this header.
