"""What is right gives no error, and a fault next to it is found all the same."""

import re

import numpy as np
import pytest
from compiler.simulator.accepted import PLANTED, RIGHT
from compiler.simulator.kernels import inspect


def errors(source):
    found = inspect(source.lstrip("\n"), (2,), (64,), np.zeros(128, np.float32), shared_bytes=1024)
    return [str(finding) for finding in found if finding.grade == "error"]


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_kernel_has_no_error(name):
    assert errors(RIGHT[name]) == []


@pytest.mark.parametrize("name", PLANTED)
def test_a_fault_planted_in_it_is_an_error(name):
    right, wrong, finding = PLANTED[name]
    assert RIGHT[name].count(right) == 1
    found = errors(RIGHT[name].replace(right, wrong))
    assert any(re.search(finding, text) for text in found), found
