// The part of CUDA's cuda_fp16.h that kernels use.
#pragma once
#include "small_float.h"

using __half = simulator::SmallFloat<simulator::HalfFormat>;
using __half2 = simulator::SmallFloat2<simulator::HalfFormat>;
using half = __half;
using half2 = __half2;
template <>
constexpr const char* simulator::code_of<__half> = "f2";

GPUNET_SMALL_FLOAT(__half, __half2)
GPUNET_SMALL_CONVERSIONS(__half, __half2, half, half2)
