// embedding.cpp: entity embedding (gpunet/ops/_entity_embedding.py). A row of x (rows, width_x) holds numbers and
// category indices. The same row of y (rows, width_y) holds the numbers unchanged, and for each index a row of a table.

#include "common.h"

// The table row of a category: its value plus 1, or 0 for an unknown one, including NaN and fractions.
DEVICE Int row_of_category(T category, Int entries) {
    const double k = category;
    return k >= 0 && k < static_cast<double>(entries - 1) && k == __builtin_rint(k) ? static_cast<Int>(k) + 1 : 0;
}

// FLOPs: 0
static void copy_columns(Int begin, Int end,
                         const T* x,    // [rows * width_x]
                         T* y,          // [rows * width_y]: the first `width` columns are written
                         Int width, Int width_x, Int width_y, Int rows) {
    for (Int i = begin; i < end; ++i)
        for (Int j = 0; j < width; ++j) y[i * width_y + j] = x[i * width_x + j];
}
ROWS(copy_columns)

// FLOPs: 0
static void category_forward(Int begin, Int end,
                             const T* x,         // [rows * width_x]
                             const T* weight,    // [entries * width]
                             T* y,               // [rows * width_y]: the columns from `first` on are written
                             Int column, Int entries, Int width, Int first, Int width_x, Int width_y, Int rows) {
    for (Int i = begin; i < end; ++i) {
        const T* vector = weight + row_of_category(x[i * width_x + column], entries) * width;
        for (Int j = 0; j < width; ++j) y[i * width_y + first + j] = vector[j];
    }
}
ROWS(category_forward)

// The rows of dy are added one after the other.
// FLOPs: rows * width
static void category_backward(Int begin, Int end,
                              const T* dy,    // [rows * width_y]
                              const T* x,     // [rows * width_x]
                              T* dweight,     // [entries * width]
                              Int column, Int entries, Int width, Int first, Int width_x, Int width_y, Int rows) {
    for (Int e = 0; e < entries * width; ++e) dweight[e] = 0;
    for (Int i = 0; i < rows; ++i) {
        T* sum = dweight + row_of_category(x[i * width_x + column], entries) * width;
        for (Int j = 0; j < width; ++j) sum[j] += dy[i * width_y + first + j];
    }
}
WHOLE(category_backward)
