// numeric_limits, of std and of cuda::std.
#pragma once
#include <limits>

namespace cuda::std {
using ::std::numeric_limits;
}
