// window.cuh: sliding windows over an image, for convolution and pooling, as in gpunet/ops/window.py.
//
// Tap i of window o reads the pixel o * stride + i * dilation - padding. A backward pass gathers: the thread of a pixel
// finds, tap by tap, the window that reads it, and adds up in that order. So sums have a fixed order, without atomics.

#pragma once
#include "common.cuh"

struct Window {
    int kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;

    // The row and the column of the image that tap 0 of a window reads; they may be in the padding.
    DEVICE int top(int window) const { return window * stride_h - padding_h; }
    DEVICE int left(int window) const { return window * stride_w - padding_w; }

    // The window whose tap i, down or across, reads a row or a column; -1 if there is none.
    DEVICE int over_row(int h, int i, int count) const { return over(h + padding_h - i * dilation_h, stride_h, count); }
    DEVICE int over_column(int w, int j, int count) const {
        return over(w + padding_w - j * dilation_w, stride_w, count);
    }

    static DEVICE int over(int offset, int stride, int count) {
        const int window = offset / stride;
        return offset < 0 || offset != window * stride || window >= count ? -1 : window;
    }
};

// The position of an element of (..., height, width).
struct Place {
    int image, row, column;
    DEVICE Place(int index, int height, int width)
        : image(index / width / height), row(index / width % height), column(index % width) {}
};
