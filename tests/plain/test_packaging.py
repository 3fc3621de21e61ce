"""The wheel: what it holds, and that it works in a fresh environment away from the checkout."""

import importlib
import operator
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import click
import editables
import hatchling
import numpy
import pytest
import safetensors
import tqdm

import gpunet

CHECKOUT = Path(__file__).parents[2]

TRAIN = """
import gpunet as gn
from gpunet.device import kernels_path
data = gn.data.digits()
trainer = gn.Trainer(gn.MLP([64, 32, 10]), optimizer=gn.Adam(0.01))
trainer.fit(data.X, data.y, epochs=3, batch_size=64)
assert trainer.evaluate(data.X, data.y)["accuracy"] > 0.9
print(gn.__file__)
print(kernels_path())
"""


def run(*command, cwd):
    """Run a command without PYTHONPATH, so that it does not import the checkout; return its output."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=CHECKOUT)
    (path,) = folder.glob("*.whl")
    return path


def installed(folder, *arguments):
    """Install something into a fresh environment, which borrows its dependencies from this one; return its Python."""
    venv.create(folder, with_pip=False)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    site_packages = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    borrowed = {
        str(Path(package.__file__).parents[1]) for package in (click, editables, hatchling, numpy, safetensors, tqdm)
    }
    (Path(site_packages) / "borrowed.pth").write_text("\n".join(borrowed))  # they come after its own packages
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "-q", "--no-deps", *arguments, cwd=folder)
    return python


def test_the_wheel_holds_all_that_is_needed_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("py.typed", "data/digits.npz", "data/README.md", "kernels/probe.cu", "training/trainer.py"):
        assert f"gpunet/{name}" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"gpunet"}


def test_messages_name_documentation_that_an_installed_wheel_has():
    text = "".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "gpunet").rglob("*.py"))
    assert not re.findall(r"\S*(?:/README|CONTRIBUTING|CHANGELOG)\S*", text)
    modules, objects = re.findall(r"-m pydoc ([\w.]+)", text), re.findall(r"\bhelp\(gn\.([\w.]+)\)", text)
    assert modules
    assert objects
    for name in modules:
        assert importlib.import_module(name).__doc__
    for name in objects:
        assert operator.attrgetter(name)(gpunet).__doc__


def test_the_base_install_needs_five_packages(wheel):
    with zipfile.ZipFile(wheel) as file:
        (name,) = (name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = file.read(name).decode()
    needed = re.findall(r"^Requires-Dist: ([\w-]+)(?!.*extra ==)", metadata, re.MULTILINE)
    assert sorted(needed) == ["click", "numpy", "safetensors", "threadpoolctl", "tqdm"]


def test_an_installed_wheel_trains_away_from_the_checkout(wheel, tmp_path):
    python = installed(tmp_path / "environment", wheel)
    package, kernels = map(Path, run(python, "-c", TRAIN, cwd=tmp_path).split())
    assert tmp_path.resolve() in package.resolve().parents
    assert kernels == package.parent / "kernels"
    assert "train" in run(python.parent / "gpunet", "--help", cwd=tmp_path)


def test_an_editable_install_finds_the_kernels_of_the_checkout(tmp_path):
    python = installed(tmp_path / "environment", "--no-build-isolation", "-e", CHECKOUT)
    package, kernels = map(Path, run(python, "-c", TRAIN, cwd=tmp_path).split())
    assert package.samefile(CHECKOUT / "gpunet" / "__init__.py")
    assert kernels.samefile(CHECKOUT / "kernels")
