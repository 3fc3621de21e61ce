import pytest
from compiler.kernels.resources import complaints, measure, variants

from gpunet.bench.nvrtc import Resources, is_available

pytestmark = pytest.mark.skipif(not is_available(), reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12")


@pytest.mark.parametrize("arch", ["sm_75", "sm_90"])
@pytest.mark.parametrize("source", sorted({variant.path.name for variant in variants()}))
def test_every_kernel_builds_without_spills_or_local_arrays_and_within_its_bounds(source, arch):
    of_source = [variant for variant in variants(one_of_each=True) if variant.path.name == source]
    built = [
        (name, variant.options, complaints(arch, name, variant, r)) for name, variant, r in measure(arch, of_source)
    ]
    assert built
    assert not [kernel for kernel in built if kernel[-1]]


@pytest.mark.parametrize("taken", [(81, 0, 0, 0), (32, 49153, 0, 0), (32, 0, 8, 0), (32, 0, 0, 8)])
def test_what_is_too_much_is_told(taken):
    variant = next(variants())
    assert len(complaints("sm_90", "scale", variant, Resources(*taken))) == 1
    assert not complaints("sm_90", "scale", variant, Resources(80, 49152, 0, 0))
