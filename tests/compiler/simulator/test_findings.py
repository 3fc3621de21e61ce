"""Check mode catches each kind of fault, at the right line."""

import re

import pytest
from compiler.simulator.findings import FAULTS, provoke

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
