"""The examples in gpunet/examples show their claims, and are short."""

import runpy
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


def test_the_package_lists_its_examples(capsys):
    runpy.run_module("gpunet.examples", run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        f"python -m gpunet.examples.{name}" for name in examples.NAMES
    ]
    assert lines[0].partition(": ")[2].startswith("Accumulate gradients: each update uses the sum over four batches")
