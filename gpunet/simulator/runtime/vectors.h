// Vector types such as float2 and int4 with CUDA's alignment: the address of a float4 is a multiple of 16.
#pragma once

namespace simulator {

// NumPy's name of a type that is not a number in C++.
template <class T>
constexpr const char* code_of = nullptr;

}  // namespace simulator

// nvcc gets these types from the host headers.
using ushort = unsigned short;
using uint = unsigned int;
using ulong = unsigned long;

#define GPUNET_VECTORS(T, NAME)                                                    \
  struct NAME##1 {                                                                 \
    T x;                                                                           \
  };                                                                               \
  struct alignas(2 * sizeof(T)) NAME##2 {                                          \
    T x, y;                                                                        \
  };                                                                               \
  struct NAME##3 {                                                                 \
    T x, y, z;                                                                     \
  };                                                                               \
  struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) NAME##4 {                \
    T x, y, z, w;                                                                  \
  };                                                                               \
  inline NAME##1 make_##NAME##1(T x) { return {x}; }                               \
  inline NAME##2 make_##NAME##2(T x, T y) { return {x, y}; }                       \
  inline NAME##3 make_##NAME##3(T x, T y, T z) { return {x, y, z}; }               \
  inline NAME##4 make_##NAME##4(T x, T y, T z, T w) { return {x, y, z, w}; }

GPUNET_VECTORS(float, float)
GPUNET_VECTORS(double, double)
GPUNET_VECTORS(int, int)
GPUNET_VECTORS(unsigned, uint)
GPUNET_VECTORS(signed char, char)
GPUNET_VECTORS(unsigned char, uchar)
GPUNET_VECTORS(short, short)
GPUNET_VECTORS(unsigned short, ushort)
GPUNET_VECTORS(long long, longlong)
GPUNET_VECTORS(unsigned long long, ulonglong)

#undef GPUNET_VECTORS

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};
