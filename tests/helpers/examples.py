"""The recipes of gpunet/examples."""

import pkgutil
import runpy

import gpunet.examples

NAMES = [module.name for module in pkgutil.iter_modules(gpunet.examples.__path__)]


def run(name: str) -> None:
    """Run one as `python -m` does, on the current device."""
    runpy.run_module(f"gpunet.examples.{name}", run_name="__main__")
