"""How `explain` describes a launch on a GPU."""

import pytest

from gpunet.cuda import Launch
from gpunet.ops.tiles import Tile
from gpunet.training.explain import launch_node

TILE = Tile(32, 32, 32, 32, 16, 4, 4, slices=4).shape


@pytest.mark.parametrize(
    ("tile", "said"), [(TILE, "32x32x32 in 4 slices"), (32, "32"), ("16,16", "16,16"), ("float,8", "float,8")]
)
def test_a_launch_says_its_tile_also_of_a_kernel_of_ones_own(tile, said):
    node = launch_node(Launch("k", {"x": (2, 3)}, (4,), (64,), {"TILE": tile}, 24, None))
    assert node.choice == f"grid 4, block 64, tile {said}"
