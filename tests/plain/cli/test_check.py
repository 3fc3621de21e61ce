"""`gpunet check` without a host compiler: the table of resources, and invalid input."""

import json
import os

import pytest

from gpunet.bench import nvrtc

with_nvrtc = pytest.mark.skipif(
    not nvrtc.is_available(), reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12"
)

SOURCE = """#include "width.cuh"
using T = REAL;
__global__ void scale(T* x) { x[threadIdx.x] *= WIDTH; }
"""


@pytest.fixture
def source(tmp_path):
    (tmp_path / "width.cuh").write_text("#ifndef WIDTH\n#define WIDTH 2\n#endif\n", encoding="utf-8")
    (tmp_path / "my.cu").write_text(SOURCE, encoding="utf-8")
    return tmp_path / "my.cu"


@pytest.fixture
def without_nvrtc(monkeypatch):
    monkeypatch.setattr(nvrtc, "_library", lambda: None)


def unusable(result):
    """Return the error line of an invalid command or spec; check the exit code."""
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    return result.stderr.splitlines()[-1]


@with_nvrtc
def test_a_table_shows_each_kernels_resources_on_each_gpu(invoke, source):
    result = invoke("check", source, "--arch", "sm_75, sm_90")
    assert result.exit_code == 0, result.stderr
    head, *rows, notice = result.stdout.splitlines()
    assert head.split() == ["kernel", "arch", "registers", "shared", "stack", "spilled", "options"]
    assert [row.split()[:2] for row in rows] == [["scale", "sm_75"], ["scale", "sm_90"]]
    assert all(row.split()[-1] == "-DREAL=float" for row in rows)
    assert notice.startswith("Only compiled. To find races and wrong results, describe the launch: --spec SPEC.py")


@with_nvrtc
def test_json_is_one_line_and_macros_reach_the_compiler(invoke, source):
    result = invoke("check", source, "--arch", "sm_90", "-D", "WIDTH=3", "-D", "REAL=double", "--json")
    (line,) = result.stdout.splitlines()
    (kernel,) = json.loads(line)["kernels"]
    assert (kernel["kernel"], kernel["arch"], kernel["shared"], kernel["spilled"]) == ("scale", "sm_90", 0, 0)
    assert kernel["options"] == ["-DREAL=double", "-DWIDTH=3"]
    assert json.loads(line)["cases"] == []


@with_nvrtc
def test_a_source_that_does_not_compile_shows_the_compilers_lines(invoke, source):
    result = invoke("check", source, "-D", "WIDTH=missing")
    assert result.exit_code == 2
    assert "my.cu(3): error: identifier" in result.stderr
    assert '"missing" is undefined' in result.stderr
    assert "Traceback" not in result.output


@with_nvrtc
def test_an_unknown_architecture_is_rejected(invoke, source):
    assert "unknown architecture 'sm_1'" in unusable(invoke("check", source, "--arch", "sm_1"))


@with_nvrtc
def test_a_file_with_only_templates_is_rejected(invoke, source):
    source.write_text("template <class U> __global__ void k(U* x) { x[0] = 1; }", encoding="utf-8")
    assert 'write extern "C" __global__' in unusable(invoke("check", source))


def test_without_nvrtc_a_notice_says_how_to_get_it(invoke, source, without_nvrtc):
    result = invoke("check", source)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Notice: NVRTC is not installed")
    assert "pip install nvidia-cuda-nvrtc-cu12" in result.stderr
    assert "nothing was checked" in result.stderr


def test_nothing_is_left_to_check_without_compiling_and_without_a_spec(invoke, source):
    assert "--no-compile needs --spec" in unusable(invoke("check", source, "--no-compile"))


def test_a_missing_file_or_one_without_kernels_is_rejected(invoke, source, tmp_path):
    assert "does not exist" in unusable(invoke("check", tmp_path / "no.cu"))
    assert "the file has no kernel" in unusable(invoke("check", tmp_path / "width.cuh"))
    assert "does not exist" in unusable(invoke("check", source, "--spec", tmp_path / "no.py"))


def test_a_binary_file_or_a_missing_header_is_rejected(invoke, refused, source):
    (source.parent / "width.cuh").unlink()
    assert "width.cuh cannot be read" in refused("check", source)
    source.with_name("binary.cu").write_bytes(b"\xff\x00__global__")
    assert "is not UTF-8 text" in refused("check", source.with_name("binary.cu"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes with names")
def test_a_pipe_or_a_device_as_source_or_header_is_rejected(refused, source):
    (source.parent / "width.cuh").unlink()
    os.mkfifo(source.parent / "width.cuh")
    os.mkfifo(source.parent / "pipe.cu")
    for path in (source, source.parent / "pipe.cu", "/dev/zero"):
        assert "cannot be read: not a regular file" in refused("check", path)


def test_a_macro_without_a_name_is_rejected(invoke, source):
    assert "write -D NAME=VALUE" in unusable(invoke("check", source, "-D", "=3"))


def test_an_incomplete_spec_is_rejected_before_compiling(invoke, source, tmp_path):
    (tmp_path / "spec.py").write_text("kernel = 'scale'", encoding="utf-8")
    result = invoke("check", source, "--spec", tmp_path / "spec.py")
    assert "grid, block, inputs, reference is missing" in unusable(result)
    assert result.stdout == ""


def test_an_endless_spec_is_rejected_after_the_limit(invoke, source, tmp_path):
    (tmp_path / "spec.py").write_text("kernel = 'scale'\nwhile True: print(kernel)", encoding="utf-8")
    result = invoke("check", source, "--spec", tmp_path / "spec.py", "--limit", 60)
    assert unusable(result).endswith("spec.py:2: RuntimeError: printed more than 1,000,000 bytes")
    (tmp_path / "spec.py").write_text("kernel = 'scale'\nwhile True: pass", encoding="utf-8")
    result = invoke("check", source, "--spec", tmp_path / "spec.py", "--limit", 1)
    assert "spec.py:2: did not end within 1 s" in unusable(result)
    assert result.stdout == ""
