"""The docstrings of the public names: each class and each function has an example, and the examples run."""

import doctest
import inspect

import numpy as np
import pytest

import gpunet as gn
import gpunet.bench
import gpunet.interop
import gpunet.simulator
import gpunet.sklearn
from gpunet import registry
from gpunet.errors import DeviceError
from gpunet.simulator.compiler import find_compiler

PACKAGES = [gn, gn.ops, gn.data, gn.metrics, gn.interop, gpunet.sklearn, gpunet.bench, gpunet.simulator]

MISSING = {"gpunet.interop.to_torch"}
"""Names without an example: this one needs PyTorch, which is in no extra of gpunet."""

COMPILED = {f"gpunet.simulator.{name}" for name in ("RawKernel", "RawModule", "check_mode", "counting")}
"""Names whose examples need a C++ compiler."""


def public_names():
    """Return the classes and functions by name, without the simulator's counterparts of NumPy's."""
    return {
        f"{package.__name__}.{name}": member
        for package in PACKAGES
        for name in getattr(package, "__all__", ())
        if inspect.isclass(member := getattr(package, name)) or inspect.isfunction(member)
        if package is not gpunet.simulator or not hasattr(np, name)
    }


NAMES = public_names()


@pytest.fixture(autouse=True)
def _apart(monkeypatch, tmp_path):
    """Run each example in an empty folder, with only gpunet's own classes registered."""
    own = {name: cls for name, cls in registry._classes.items() if cls.__module__.startswith("gpunet.")}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_classes", own)


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_has_an_example_that_runs(name):
    if name in COMPILED:
        try:
            find_compiler()
        except DeviceError as error:
            pytest.skip(str(error))
    session = {"gn": gn, "np": np, "__name__": name}
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(NAMES[name]), session, name, None, None)
    assert bool(example.examples) == (name not in MISSING)
    report = []
    doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=report.append)
    assert "".join(report) == ""


def test_the_list_of_missing_examples_holds_public_names():
    assert set(NAMES) >= MISSING
