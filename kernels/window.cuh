// window.cuh: the windows that a convolution or a pooling slides over an image, as gpunet/ops/window.py has them.
//
// Tap i of window o looks at the pixel o * stride + i * dilation - padding. What a backward pass brings to a pixel is
// gathered: a thread for each pixel asks, tap by tap, which window looks at it, and adds up in that order. So sums have
// a fixed order, and nothing is added atomically.

#pragma once
#include "common.cuh"

struct Window {
    int kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;

    // The row and the column of the image that tap 0 of a window looks at; they may lie in the padding.
    DEVICE int top(int window) const { return window * stride_h - padding_h; }
    DEVICE int left(int window) const { return window * stride_w - padding_w; }

    // The window whose tap i, down or across, looks at a row or a column; -1 where there is none.
    DEVICE int over_row(int h, int i, int count) const { return over(h + padding_h - i * dilation_h, stride_h, count); }
    DEVICE int over_column(int w, int j, int count) const {
        return over(w + padding_w - j * dilation_w, stride_w, count);
    }

    static DEVICE int over(int offset, int stride, int count) {
        const int window = offset / stride;
        return offset < 0 || offset != window * stride || window >= count ? -1 : window;
    }
};

// What the index of an element of (..., height, width) stands for.
struct Place {
    int image, row, column;
    DEVICE Place(int index, int height, int width)
        : image(index / width / height), row(index / width % height), column(index % width) {}
};
