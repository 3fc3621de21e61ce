"""Check mode finds each kind of fault, at the correct line."""

import re

import numpy as np
import pytest
from compiler.simulator.findings import FAULTS, provoke
from compiler.simulator.kernels import inspect

from gpunet.errors import KernelError


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_at_its_line(line_of, name):
    pattern, text = FAULTS[name]
    with pytest.raises(KernelError) as caught:
        provoke(name)
    message = str(caught.value)
    assert re.search(pattern, message), message
    assert line_of(text.lstrip("\n")) in message
    assert message.startswith("kernel k: ")


def test_many_warnings_do_not_hide_an_error():
    writes = "\n".join(f"s[{i}] = {i};" for i in range(200))
    source = f"""
    extern "C" __global__ void k(float* x) {{
      __shared__ float s[200];
      {writes}
      __syncthreads();
      x[threadIdx.x] = s[threadIdx.x];
    }}"""
    found = inspect(source, (1,), (64,), np.zeros(128, np.float32))
    assert {(finding.grade, finding.kind) for finding in found} == {("warning", "race")}
    found = inspect(source.replace("s[199] = 199", "s[199] = threadIdx.x"), (1,), (64,), np.zeros(128, np.float32))
    assert ("error", "race") in {(finding.grade, finding.kind) for finding in found}


def test_one_byte_is_singular():
    source = 'extern "C" __global__ void k(char* x) { x[threadIdx.x + 1] = 1; }'
    (finding,) = inspect(source, (1,), (1,), np.zeros(1, np.int8))
    assert "write of 1 byte at" in finding.text
    assert "which has 1 byte" in finding.text
