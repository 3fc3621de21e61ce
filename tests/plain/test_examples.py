"""The examples in gpunet/examples show their claims, and are short."""

from pathlib import Path

import examples
import pytest

import gpunet as gn


@pytest.mark.parametrize("name", examples.NAMES)
def test_an_example_shows_its_claim(name):
    with gn.use_device("cpu"):
        examples.SHOWS[name](*examples.run(name))


@pytest.mark.parametrize("name", examples.NAMES)
def test_an_example_has_at_most_30_lines_of_code(name):
    _, _, code = (Path(gn.__file__).parent / "examples" / f"{name}.py").read_text(encoding="utf-8").rpartition('"""')
    assert len([line for line in code.splitlines() if line]) <= 30
