// Empty: the functions of this header that kernels may use are always declared.
