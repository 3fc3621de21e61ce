import pytest
from compiler.kernels.cubins import compile_cubin, disassemble
from compiler.kernels.resources import complaints, measure, variants

from gpunet.bench import nvrtc
from gpunet.bench.nvrtc import Resources, is_available
from gpunet.cuda import read_source
from gpunet.ops._matmul_plan import TENSOR_CORE_KERNELS

pytestmark = pytest.mark.skipif(not is_available(), reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12")


def test_a_cubin_from_the_cache_is_that_of_its_source_options_and_architecture(tmp_path, monkeypatch):
    monkeypatch.setenv("GPUNET_CACHE", str(tmp_path))
    source = 'extern "C" __global__ void k(float* x) { __shared__ float s[N]; x[1] = s[threadIdx.x]; }'
    wanted = [(source, "sm_75", ["-DN=9"]), (source, "sm_90", ["-DN=9"]), (source, "sm_75", ["-DN=8"])]
    wanted.append((source.replace("x[1]", "x[2]"), "sm_75", ["-DN=9"]))
    expected = [nvrtc.compile_cubin(source, "k.cu", arch, options) for source, arch, options in wanted]
    assert len({cubin for cubin, _ in expected}) == 4
    assert [compile_cubin(source, "k.cu", arch, options) for source, arch, options in wanted] == expected
    monkeypatch.setattr(nvrtc, "compile_cubin", None)
    assert [compile_cubin(source, "k.cu", arch, options) for source, arch, options in wanted] == expected


VARIANTS = list(variants(one_of_each=True))
SOURCES = sorted({variant.path.name for variant in VARIANTS})
BUILDS = [(source, arch) for source in SOURCES for arch in ("sm_75", "sm_90")]
BUILDS += [(f"matmul_{kernel}.cu", "sm_80") for kernel in TENSOR_CORE_KERNELS]  # on sm_75 they are traps


@pytest.mark.parametrize(("source", "arch"), BUILDS)
def test_every_kernel_builds_without_spills_or_local_memory_within_its_register_bounds(source, arch):
    of_source = [variant for variant in VARIANTS if variant.path.name == source]
    built = [
        (name, variant.options, complaints(arch, name, variant, r)) for name, variant, r in measure(arch, of_source)
    ]
    assert built
    assert not [kernel for kernel in built if kernel[-1]]


@pytest.mark.parametrize("taken", [(81, 0, 0, 0), (32, 49153, 0, 0), (32, 0, 8, 0), (32, 0, 0, 8)])
def test_excess_resources_are_reported(taken):
    variant = VARIANTS[0]
    assert len(complaints("sm_90", "scale", variant, Resources(*taken))) == 1
    assert not complaints("sm_90", "scale", variant, Resources(80, 49152, 0, 0))


def test_the_persistent_kernel_does_not_use_the_read_only_cache():
    def loads(source):
        variant = next(variant for variant in VARIANTS if variant.path.name == source)
        cubin, _ = compile_cubin(read_source(variant.path), source, "sm_90", variant.options)
        return [line for line in disassemble(cubin).splitlines() if " LDG." in line]

    assert any(".CONSTANT" in line for line in loads("dropout.cu"))
    assert loads("mlp_train.cu")
    assert not [line for line in loads("mlp_train.cu") if ".CONSTANT" in line]
