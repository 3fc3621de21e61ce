// What kernels use of the libraries std and cuda::std.
#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

namespace cuda::std {
using namespace ::std;
}
