// The part of CUDA's cuda_bf16.h that kernels use. NumPy has no bfloat16: an array of it is a uint16 array of its bits.
#pragma once
#include "small_float.h"

using __nv_bfloat16 = simulator::SmallFloat<simulator::BfloatFormat>;
using __nv_bfloat162 = simulator::SmallFloat2<simulator::BfloatFormat>;
using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;
template <>
constexpr const char* simulator::code_of<__nv_bfloat16> = "u2";

GPUNET_SMALL_FLOAT(__nv_bfloat16, __nv_bfloat162)
GPUNET_SMALL_CONVERSIONS(__nv_bfloat16, __nv_bfloat162, bfloat16, bfloat162)
