"""The tiles of matrix products in shared memory: no load of a fragment and no copy of a tile has bank conflicts.

A warp accesses shared memory in groups of lanes: 32 for 4 bytes per lane, 16 for 8 bytes, 8 for 16 bytes. For loads of
16 bytes, two such groups are served at once if adjacent lanes, or lanes two apart, load the same vector, as here.
"""

import shutil

import numpy as np
import pytest
from compiler.kernels.checked import run

from gpunet.cuda import Kernel
from gpunet.device import kernels_path
from gpunet.ops.tiles import FLOAT32, TILES

SOURCE = """
#include "tiled_product.cuh"
using Shape = TileShape<TILE>;
using Place = PlaceOf<Shape>;

struct Places {
    int* loads;   // of a thread from the first row of a tile
    int* copies;  // of a thread to the tile
    int* widths;  // elements of a load and of a copy
    T* shared;
    const T* operand;

    template <typename Tile, typename Fragment, bool VECTORS>
    DEVICE void find(int warp, int lane) const {
        constexpr int LOADS = sizeof(Fragment) / sizeof(T) / Fragment::LOADED;
        const int own = Tile::at(warp + Fragment::place(0, lane), Place::of_thread().slice * Shape::DEPTH);
        const typename Tile::Copies of_thread(shared, operand, 0, 1, 0, Shape::BK, Shape::BK);
        for (int i = 0; i < 32; ++i) {
            loads[i] = own + Tile::at(Fragment::place(i % LOADS * Fragment::LOADED / Fragment::STEPS, 0), 0);
            const int other = i % Tile::EACH * Shape::THREADS;
            copies[i] = of_thread.to - shared + Tile::at_row(Tile::row_of(other), Tile::place_of(other));
        }
        if (threadIdx.x != 0) return;
        widths[0] = Fragment::LOADED;
        widths[1] = VECTORS ? VECTOR : 1;
    }

    template <bool A_TRANSPOSED, bool B_TRANSPOSED, bool VECTORS>
    DEVICE void find_operand(bool second) const {
        using Product = TiledProduct<Shape, A_TRANSPOSED, B_TRANSPOSED, VECTORS, VECTORS, false, false>;
        const auto place = Place::of_thread();
        if (second) find<typename Product::TileB, typename Product::FragmentB, VECTORS>(place.warp_n, place.lane_n);
        else find<typename Product::TileA, typename Product::FragmentA, VECTORS>(place.warp_m, place.lane_m);
    }
};

extern "C" __global__ void __launch_bounds__(Shape::THREADS) find_places(
    int* loads,        // [32 * threads]
    int* copies,       // [32 * threads]
    int* widths,       // [2]
    const T* operand,  // [1]
    int threads, int layout, bool vectors, bool second) {
    alignas(16) __shared__ T shared[1];
    const Places places{loads + threadIdx.x * 32, copies + threadIdx.x * 32, widths, shared, operand};
    if (layout == 0) vectors ? places.find_operand<0, 0, 1>(second) : places.find_operand<0, 0, 0>(second);
    if (layout == 1) vectors ? places.find_operand<0, 1, 1>(second) : places.find_operand<0, 1, 0>(second);
    if (layout == 2) vectors ? places.find_operand<1, 0, 1>(second) : places.find_operand<1, 0, 0>(second);
}
"""
LAYOUTS = "NN", "NT", "TN"
BANKS = 32


def conflicts(tile, folder):
    """Return how often lanes need a bank for several words at once, for each layout and width of the copies."""
    path = folder / "find_places.cu"
    path.write_text(SOURCE, encoding="utf-8")
    kernel, found = Kernel(path, "find_places"), {}
    for number, layout in enumerate(LAYOUTS):
        for vectors in (False, True):
            for second in (False, True):
                loads, copies = np.zeros((2, tile.threads, 32), np.int32)
                widths, operand = np.zeros(2, np.int32), np.zeros(1, np.float32)
                arguments = loads, copies, widths, operand, tile.threads, number, vectors, second
                run(kernel, (1,), (tile.threads,), *arguments, options=tile.options(), mode="fast")
                load, copy = widths.tolist()
                found[layout, "ab"[second], load] = clashes(loads, load, 16 if load == 4 else 32 // load)
                found[layout, "ab"[second], f"copy of {copy}"] = clashes(copies, copy, 32 // copy)
    return found


def clashes(places, width, together):
    """Return how many words of different addresses share a bank; `together` lanes access memory at once."""
    found = 0
    for lanes in places.reshape(-1, together, places.shape[1]).transpose(0, 2, 1).reshape(-1, together):
        banks = [(first + i) % BANKS for first in set(lanes.tolist()) for i in range(width)]
        found += len(banks) - len(set(banks))
    return found


@pytest.mark.parametrize("tile", [tile for tile, _ in TILES["tiled", FLOAT32]], ids=str)
def test_no_access_has_bank_conflicts(tile, tmp_path):
    found = conflicts(tile, tmp_path)
    assert len(found) > 12
    assert not {access: number for access, number in found.items() if number}


@pytest.mark.parametrize(
    ("right", "wrong", "access"),
    [("(x + x / 8) * VECTOR", "x * VECTOR", 4), (" | 1) * SPREAD", ") * SPREAD", "copy of 4")],
)
def test_bank_conflicts_of_a_wrong_layout_are_found(right, wrong, access, tmp_path):
    folder = tmp_path / "kernels"
    shutil.copytree(kernels_path(), folder)
    header = folder / "tile_loader.cuh"
    source = header.read_text(encoding="utf-8")
    assert right in source
    header.write_text(source.replace(right, wrong), encoding="utf-8")
    found = conflicts(TILES["tiled", FLOAT32][0][0], folder)
    assert found["NT", "a", access] > 0
    assert found["TN", "a", access] == 0
