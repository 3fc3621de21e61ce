"""The CPU kernels under the address and the undefined-behaviour sanitizer, on arrays of exactly the declared sizes."""

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from compiler.native.calls import FOLDER

from gpunet.native.compiler import find_compiler

DRIVER = Path(__file__).with_name("sanitizer_driver.cpp")
FLAGS = ("-std=c++17", "-O1", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-DACTIVATION=gelu")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")

OVERRUNS = {
    "an end that is not cut": ("optimizers.cpp", "std::min(end * BLOCK, size)", "end * BLOCK"),
    "a label that is not checked": ("softmax_cross_entropy.cpp", "labels[row] >= 0 && ", ""),
}


def run_driver(folder: Path, real: str, target: Path) -> subprocess.CompletedProcess:
    """Build the driver with the kernels of a folder, in `target`, and run it."""
    command = find_compiler().command
    kernels = [
        path for path in sorted(folder.glob("*.cpp")) if re.search(r"^(ROWS|SLICES|WHOLE)\(", path.read_text(), re.M)
    ]

    def compile_object(source: Path) -> str:
        object_file = str(target / f"{source.stem}.o")
        flags = *FLAGS, *SANITIZERS, f"-DREAL={real}", "-iquote", str(folder)
        subprocess.run([*command, *flags, "-c", str(source), "-o", object_file], check=True)
        return object_file

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_object, [DRIVER, *kernels]))
    program = str(target / "driver")
    link = subprocess.run([*command, *SANITIZERS, *objects, "-o", program], capture_output=True, text=True)
    if link.returncode and re.search("cannot find|not found", link.stderr):
        pytest.skip("the compiler has no sanitizers")
    assert link.returncode == 0, link.stderr
    return subprocess.run([program], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("real", ["float", "double"])
def test_no_kernel_reaches_beyond_its_arrays(real, tmp_path):
    done = run_driver(FOLDER, real, tmp_path)
    assert (done.returncode, done.stdout) == (0, "all kernels done\n"), done.stderr


@pytest.mark.parametrize("name", OVERRUNS)
def test_a_planted_overrun_is_caught(name, tmp_path):
    file, right, wrong = OVERRUNS[name]
    folder = tmp_path / "kernels" / "cpu"
    shutil.copytree(FOLDER.parent, folder.parent)
    source = (folder / file).read_text()
    assert right in source, "the kernel has changed: plant the fault anew"
    (folder / file).write_text(source.replace(right, wrong, 1))
    done = run_driver(folder, "float", tmp_path)
    assert done.returncode != 0
    assert "AddressSanitizer" in done.stderr
