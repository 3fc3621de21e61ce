"""The main loops of the kernels: parsed from assembly, and within their bounds on sm_90."""

import shutil
from pathlib import Path

import pytest
from compiler.kernels.cubins import compile_cubin, disassemble

from gpunet.bench import nvrtc
from gpunet.errors import MissingPackageError
from gpunet.ops.tiles import FLOAT32, TILES

CHECKOUT = Path(__file__).parents[3]

ASSEMBLY = """
.text.first:
        /*0000*/                   S2R R0, SR_TID.X ;
.L_x_0:
        /*0010*/                   LDS.128 R4, [R0] ;
        /*0020*/                   FFMA R1, R4, R5, R1 ;
.L_x_1:
        /*0030*/                   FADD R2, R2, R4 ;
        /*0040*/             @!UP0 BRA `(.L_x_1) ;
        /*0050*/              @!P0 BRA `(.L_x_2) ;
        /*0060*/              @!PT LDS RZ, [RZ] ;
.L_x_2:
        /*0070*/               @P1 BRA `(.L_x_0) ;
        /*0080*/                   EXIT ;
.L_x_3:
        /*0090*/                   BRA `(.L_x_3);
.text.second:
        /*0000*/                   EXIT ;
"""


@pytest.fixture
def mix(monkeypatch):
    monkeypatch.syspath_prepend(CHECKOUT)
    from benchmarks import instruction_mix

    monkeypatch.setattr(instruction_mix, "compile_cubin", compile_cubin)
    monkeypatch.setattr(instruction_mix, "disassemble", disassemble)
    return instruction_mix


def test_the_main_loop_has_the_most_multiply_adds_and_excludes_inner_loops(mix):
    (first, lines), (second, rest) = mix.functions(ASSEMBLY)
    assert (first, second) == ("first", "second")
    assert mix.main_loop(lines) == {"LDS": 2, "FFMA": 1, "BRA": 2}
    assert not mix.main_loop(rest)


def test_without_nvdisasm_the_error_says_how_to_get_it(mix, monkeypatch):
    monkeypatch.setattr(mix.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingPackageError, match="pip install nvidia-cuda-nvdisasm"):
        mix.nvdisasm()


def available():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(CHECKOUT)
        from benchmarks.instruction_mix import nvdisasm
    try:
        return nvrtc.is_available() and nvdisasm().exists()
    except MissingPackageError:
        return False


with_sass = pytest.mark.skipif(
    not available(),
    reason="NVRTC or nvdisasm is not installed: pip install nvidia-cuda-nvrtc-cu12 nvidia-cuda-nvdisasm",
)


@with_sass
def test_the_command_prints_a_row_for_each_variant(mix, capsys):
    assert mix.main(["linear_backward", "bias_activation"]) == 0
    table = capsys.readouterr().out
    assert "| `linear_backward` | 32x32x32 in 4 slices |" in table
    assert "| `bias_activation_backward` |  |" in table


@with_sass
def test_a_missing_source_is_reported(mix, capsys):
    assert mix.main(["no_such_kernel"]) == 1
    assert "no_such_kernel.cu cannot be read" in capsys.readouterr().err


MIN_FFMA = {  # percent of the main loop for NN, NT, TN; maximum registers, for 3 or 4 blocks of 128 threads per SM
    "64x128x16": (90, 87, 89, 168),
    "64x64x32 in 2 slices": (89, 87, 89, 168),
    "32x32x32 in 4 slices": (73, 71, 69, 128),
    "16x16x64 in 4 slices": (67, 66, 63, 128),
}


@with_sass
@pytest.mark.parametrize("tile", [tile for tile, _ in TILES["tiled", FLOAT32]], ids=str)
def test_the_main_loop_of_the_tiled_product_is_mostly_multiply_adds_on_sm_90(mix, tile):
    *bounds, registers = MIN_FFMA[str(tile)]
    built = [
        (variant.name, product.share("FFMA"), product.resources)
        for variant in mix.variants("matmul_tiled")
        if variant.name.startswith(f"{tile} ")
        for product in mix.measure("matmul_tiled", variant, "sm_90")
    ]
    assert len(built) == len(bounds)
    for (name, share, resources), bound in zip(built, bounds, strict=True):
        assert share >= bound / 100, name
        assert resources.spilled == 0, name
        assert resources.registers <= registers, name


MIN_HMMA = {  # percent of the main loop for NN, NT, TN
    "matmul_mma": {"128x128x16": (21, 24, 17), "64x64x16": (15, 16, 11), "32x32x32": (7, 9, 4)},
    "matmul_mma3": {"128x128x16": (29, 31, 26), "64x64x16": (23, 25, 19), "32x32x32": (14, 16, 10)},
}


@with_sass
@pytest.mark.parametrize("tile", [tile for tile, _ in TILES["mma", FLOAT32]], ids=str)
@pytest.mark.parametrize("kernel", MIN_HMMA)
def test_the_main_loop_on_tensor_cores_has_its_share_of_hmma_on_sm_90(mix, kernel, tile):
    variants = [variant for variant in mix.variants(kernel) if variant.name.startswith(f"{tile} ")]
    built = [product for variant in variants for product in mix.measure(kernel, variant, "sm_90")]
    shares = [100 * product.share("HMMA") for product in built]
    assert len(shares) == len(MIN_HMMA[kernel][str(tile)])
    assert all(share >= bound for share, bound in zip(shares, MIN_HMMA[kernel][str(tile)], strict=True)), shares
    assert [product.resources.spilled for product in built] == [0, 0, 0]
