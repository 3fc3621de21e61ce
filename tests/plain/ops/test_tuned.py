"""The table of `gpunet tune`: which entries the plan uses, and which it ignores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from tuned_table import table

import gpunet as gn
from gpunet.errors import ArgumentError, DataError
from gpunet.files import cache_folder
from gpunet.ops import matmul_plan, tuned
from gpunet.ops.tiles import CANDIDATES, FLOAT32, FLOAT64, TILES, Tile
from gpunet.ops.tuned import Product, Winner

__all__ = ["table"]

SIM = gn.get_device("sim")  # plans need no compiler
NARROW = Tile(32, 16, 64, 32, 16, 4, 4, slices=4)
SIZE = 128, 10, 784
WINNER = Winner(NARROW, 4, "2026-11-20")


def key(layout="NN", dtype=FLOAT32, size=SIZE, kernel="tiled"):
    return kernel, Product.of(*size, layout, dtype)


def plan(*size, **options):
    return matmul_plan(*(size or SIZE), device=SIM, **options)


def is_tuned(plan):
    return plan.why.startswith("tuned on")


# what the plan takes from it


@pytest.mark.parametrize("kernel", [None, "tiled"])
def test_the_plan_uses_the_tuned_tile_and_says_so(table, kernel):
    assert not is_tuned(plan())
    tuned.keep(SIM, {key(): WINNER})
    why = "tuned on gpunet simulator on 2026-11-20: tile 32x16x64 in 4 slices, splits 4"
    assert plan(kernel=kernel) == ("tiled", NARROW, 4, why)


def test_matmul_plan_defaults_to_the_current_device(table):
    tuned.keep(SIM, {key(): WINNER})
    with gn.use_device("sim"):
        assert is_tuned(matmul_plan(*SIZE))
    with gn.use_device("cpu"):
        assert not is_tuned(matmul_plan(*SIZE))


def test_a_tuned_entry_applies_only_to_its_product(table):
    tuned.keep(SIM, {key(): WINNER})
    for other in (
        plan(128, 10, 783),
        plan(*SIZE, layout="NT"),
        plan(*SIZE, batch=2),
        plan(*SIZE, kernel="mma"),
        plan(*SIZE, kernel="naive"),
        plan(*SIZE, kernel="blas"),
        plan(*SIZE, kernel="tiled", dtype=np.float64),
    ):
        assert not is_tuned(other)


def test_tuned_float64_entries_apply_if_the_kernel_is_requested(table):
    tuned.keep(SIM, {key(dtype=FLOAT64): Winner(TILES["tiled", FLOAT64][0][0], 2, "2026-11-20")})
    assert plan(dtype=np.float64).kernel == "blas"
    assert is_tuned(plan(dtype=np.float64, kernel="tiled"))


def test_entries_of_another_gpu_are_ignored(table, monkeypatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(tuned, "gpu_name", lambda device: "NVIDIA T4")
        tuned.keep(SIM, {key(): WINNER})
    assert not is_tuned(plan())


def test_a_single_row_or_column_is_the_same_product_in_either_layout(table):
    assert Product.of(32, 128, 1, "NT", FLOAT32).layout == "NN"  # dz·Wᵀ of a single output
    assert Product.of(1, 128, 32, "TN", FLOAT32).layout == "NN"
    assert Product.of(1, 128, 32, "NT", FLOAT32).layout == "NT"
    tuned.keep(SIM, {key("NT", size=(32, 128, 1)): Winner(TILES["tiled", FLOAT32][2][0], 1, "2026-11-20")})
    assert is_tuned(plan(32, 128, 1, layout="NN"))
    assert is_tuned(plan(32, 128, 1, layout="NT"))


def test_an_unknown_layout_raises():
    with pytest.raises(ArgumentError, match="unknown layout 'TT'; use one of 'NN', 'NT', 'TN'"):
        plan(*SIZE, layout="TT")


# the defaults


def test_the_default_plan_fills_the_sms_of_the_device(table):
    assert "16 blocks for 16 SMs" in plan(128, 128, 784).why  # those of the simulated GPU
    with gn.use_device("cpu"):
        assert matmul_plan(128, 16, 4096).splits == 8  # 8 tiles x 8 splits on a GPU with 132 SMs


@pytest.mark.parametrize("kernel", ["mma", "mma3"])
def test_tuned_tiles_of_tensor_cores_apply_to_their_kernel_only(table, kernel):
    tile = TILES[kernel, FLOAT32][-1][0]
    tuned.keep(SIM, {key(kernel=kernel): Winner(tile, 3, "2026-11-20")})
    assert plan(kernel=kernel)[:3] == (kernel, tile, 3)
    assert is_tuned(plan(kernel=kernel))
    with gn.ops.use_kernel(kernel):
        assert is_tuned(plan())
    assert not is_tuned(plan())
    assert [is_tuned(plan(kernel=name)) for name in ("tiled", "mma", "mma3")].count(True) == 1


@pytest.mark.parametrize(("kernel", "dtype"), CANDIDATES)
def test_every_candidate_tile_is_supported_by_the_kernel(kernel, dtype):
    vector = 16 // dtype.itemsize
    for tile in CANDIDATES[kernel, dtype]:
        if kernel == "tiled":
            assert (tile.bm % tile.wm, tile.bn % tile.wn, tile.wm % tile.tm, tile.wn % tile.tn) == (0, 0, 0, 0)
            assert tile.wm * tile.wn == 32 * tile.tm * tile.tn
        else:
            assert (tile.bm % tile.wm, tile.bn % tile.wn, tile.wm % 16, tile.wn % 16) == (0, 0, 0, 0)
            assert (tile.tm, tile.tn, tile.slices) == (0, 0, 1)
        assert (tile.bm % vector, tile.bn % vector, tile.bk % vector) == (0, 0, 0)
        # each row of shared memory is padded by a vector; on tensor cores in layout NT it is a row along k
        sides = tile.bm + tile.bn
        elements = tile.bk * (sides + 2 * vector) if kernel == "tiled" else (tile.bk + vector) * sides
        assert tile.stages * elements * dtype.itemsize <= 48 * 1024
        assert tile.threads <= 1024
    assert len({str(tile) for tile in CANDIDATES[kernel, dtype]}) == len(CANDIDATES[kernel, dtype])


# the file


def test_new_entries_replace_old_ones_of_the_same_product(table):
    tuned.keep(SIM, {key(): WINNER, key("TN"): WINNER})
    tuned.keep(SIM, {key(): WINNER._replace(splits=2), key("NT"): WINNER})
    assert [plan(layout=layout).splits for layout in ("NN", "NT", "TN")] == [2, 4, 4]
    assert json.loads(table.read_bytes())["winners"]["gpunet simulator"].keys() == {
        f"tiled float32 {layout} 128x10x784" for layout in ("NN", "NT", "TN")
    }


def test_the_table_is_read_once_and_not_at_import(table, monkeypatch):
    tuned.keep(SIM, {key(): WINNER})
    plan()
    monkeypatch.setattr(tuned, "read", None)
    assert is_tuned(plan())
    table.write_text("damaged")
    environment = {**os.environ, "GPUNET_CACHE": str(table.parent)}
    subprocess.run([sys.executable, "-W", "error", "-c", "import gpunet"], check=True, env=environment)


GOOD = {"tile": list(NARROW), "splits": 4, "date": "2026-11-20"}


def file(format="gpunet tune", version=4, name="tiled float32 NN 128x10x784", **changed):
    entries = {name: {**GOOD, **changed}}
    return json.dumps({"format": format, "version": version, "winners": {"gpunet simulator": entries}})


BAD = {
    "empty": "",
    "cut off": file()[:-10],
    "no table": "[1, 2]",
    "another format": file(format="gpunet bench"),
    "an earlier version": file(version=3),
    "an unknown tile": file(tile=[64, 16, 32, 32, 16, 4, 2, 3, 1, 1]),
    "a tile of floats": file(tile=[float(n) for n in NARROW]),
    "half a tile": file(tile=[64, 16]),
    "no splits": file(splits=0),
    "more splits than steps": file(splits=25),
    "half a split": file(splits=1.5),
    "a dtype without kernel": file(name="tiled float16 NN 128x10x784"),
    "a kernel without tiles": file(name="naive float32 NN 128x10x784"),
    "a dtype of other kernels": file(name="mma float64 NN 128x10x784"),
    "an unknown layout": file(name="tiled float32 TT 128x10x784"),
    "no sizes": file(name="tiled float32 NN"),
    "not UTF-8": b"\xff\xfe",
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_an_invalid_table_is_ignored_with_one_warning_and_not_overwritten(table, content):
    table.parent.mkdir()
    table.write_bytes(content.encode() if isinstance(content, str) else content)
    before = table.read_bytes()
    with pytest.warns(UserWarning, match=r"tuned.json: not a table of `gpunet tune` .* delete it and tune again"):
        assert not is_tuned(plan())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not is_tuned(plan())
    with pytest.raises(DataError, match="delete it and tune again"):
        tuned.keep(SIM, {key(): WINNER})
    assert table.read_bytes() == before


def test_the_valid_table_of_these_tests_is_used(table):
    table.parent.mkdir()
    table.write_text(file())
    assert is_tuned(plan())


def test_an_unreadable_table_is_ignored_with_a_warning(table):
    table.mkdir(parents=True)
    with pytest.warns(UserWarning, match=r"matrix products use gpunet's default tiles, not tuned ones: "):
        assert not is_tuned(plan())


def test_the_cache_folder_is_set_by_environment_variables(monkeypatch, tmp_path):
    monkeypatch.delenv("GPUNET_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "gpunet"
    assert tuned.table_path() == tmp_path / "gpunet" / "tuned.json"
    monkeypatch.setenv("GPUNET_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
