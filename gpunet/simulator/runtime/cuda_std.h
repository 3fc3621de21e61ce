// The part of the libraries std and cuda::std that kernels use.
#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

namespace cuda::std {
using namespace ::std;
}
