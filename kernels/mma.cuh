// mma.cuh: the product of small tiles on tensor cores, d += a b, in TF32 with float accumulation; sm_80 and later.
//
// The lanes of a warp hold the 16 x 8 tile a, the 8 x 8 tile b and the 16 x 8 tile d together. With group = lane / 4
// and member = lane % 4 (PTX ISA, "Matrix fragments for mma.m16n8k8", type .tf32):
//
//     a[0..3] = a(group, member), a(group + 8, member), a(group, member + 4), a(group + 8, member + 4)
//     b[0..1] = b(member, group), b(member + 4, group)
//     d[0..3] = d(group, 2 member), d(group, 2 member + 1), d(group + 8, 2 member), d(group + 8, 2 member + 1)

#pragma once
#include "common.cuh"

// Round to the nearest TF32 number, which has 10 bits of mantissa; the other 13 bits of the result are zero. Infinity
// and NaN are preserved, except a NaN whose mantissa is zero but for those 13 bits; no GPU instruction returns such a
// NaN. One instruction on sm_90 and later. Three before, where ties round away from zero, not to even.
DEVICE unsigned float_to_tf32(float x) {
    unsigned rounded = 0;
#if __CUDA_ARCH__ >= 900
    asm("cvt.rn.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
#elif __CUDA_ARCH__ >= 800
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
#endif
    return rounded;
}

// Tensor cores ignore the last 13 bits of their operands.
DEVICE void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    __trap();  // fail rather than return wrong results
#endif
}

// Load four matrices of 8 rows of 4 adjacent floats (16 bytes) from shared memory: lane 8 i + j passes the address of
// row j of matrix i, and gets element `member` of row `group` of each.
DEVICE void load_matrices(float* elements, const float* row) {
#if __CUDA_ARCH__ >= 800
    const unsigned place = static_cast<unsigned>(__cvta_generic_to_shared(row));
    unsigned bits[4];
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(bits[0]), "=r"(bits[1]), "=r"(bits[2]), "=r"(bits[3])
                 : "r"(place)
                 : "memory");
#pragma unroll
    for (int i = 0; i < 4; ++i) elements[i] = __uint_as_float(bits[i]);
#endif
}
