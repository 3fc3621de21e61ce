// The arithmetic of tensor cores, which NVIDIA does not document. Measurements (Fasi, Higham, Mikaitis, Pranesh,
// "Numerical behavior of NVIDIA tensor cores", 2021) found: products are exact; the terms of a sum are aligned to the
// largest one and truncated, not rounded; the sum is truncated to a float. How many products are added at once and how
// many extra bits an aligned term has depends on the GPU. Here it is the worst that was found: four products, no extra
// bits.
#include <algorithm>
#include <bit>
#include <cmath>

#include "runtime.h"

namespace simulator {

void add_products(float* d, const float* a, const float* b, int k);

namespace {

constexpr int kAtOnce = 4, kColumns = 8;

// The terms of the sums of a row: the products, and the sum so far.
using Terms = double[kAtOnce + 1][kColumns];

uint64_t exponent_bits(double value) { return std::bit_cast<uint64_t>(value) & 0x7ffull << 52; }

float truncated(double value) {
  const float near = static_cast<float>(value);
  const bool above = std::abs(near) > std::abs(value) && std::isfinite(near);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(near) - above);
}

// -O3 vectorizes the loops over columns.
__attribute__((optimize("O3"))) void add_up(float* d, const Terms& terms) {
  double largest[kColumns], sums[kColumns] = {}, plain[kColumns] = {};
  std::fill(largest, largest + kColumns, 0x1p-300);  // below all products, so that its inverse is finite
  for (const auto& row : terms)
    for (int column = 0; column < kColumns; ++column) {
      plain[column] += row[column];
      largest[column] = std::max(largest[column], std::abs(row[column]));
    }
  for (const auto& row : terms)
    for (int column = 0; column < kColumns; ++column) {
      const auto last_bits = std::bit_cast<double>((2 * 1023ull + 23 << 52) - exponent_bits(largest[column]));
      sums[column] += std::trunc(row[column] * last_bits);
    }
  for (int column = 0; column < kColumns; ++column) {
    const double last_bit = std::bit_cast<double>(exponent_bits(largest[column]) - (23ull << 52));
    // infinities and NaN as in float arithmetic
    d[column] = truncated(std::isfinite(plain[column]) ? sums[column] * last_bit : plain[column]);
  }
}

}  // namespace

__attribute__((optimize("O3"))) void add_products(float* d, const float* a, const float* b, int k) {
  for (int row = 0; row < 16; ++row, d += kColumns)
    for (int first = 0; first < k; first += kAtOnce) {
      Terms terms;
      for (int i = 0; i < kAtOnce; ++i)
        for (int column = 0; column < kColumns; ++column)
          terms[i][column] = double{a[row * k + first + i]} * b[(first + i) * kColumns + column];
      for (int column = 0; column < kColumns; ++column) terms[kAtOnce][column] = d[column];
      add_up(d, terms);
    }
}

}  // namespace simulator
