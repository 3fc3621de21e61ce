"""A source is compiled once, until one of its inputs changes; no process ever loads a partial library."""

import multiprocessing
import os
import shutil

import numpy as np
import pytest
from compiler.simulator.kernels import buffer

from gpunet.errors import ArgumentError, CompileError, DeviceError, GpunetWarning, KernelError
from gpunet.simulator import compiler
from gpunet.simulator.compiler import compile_kernels, find_compiler, runtime_library
from gpunet.simulator.engine import load

SOURCE = '#include "value.cuh"\nextern "C" __global__ void k(int* x) { x[0] = VALUE + OFFSET; }\n'


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache that contains only the runtimes, and a folder with a header."""
    runtimes = [runtime_library("fast"), runtime_library("check")]
    monkeypatch.setenv("GPUNET_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "builds"
    folder.mkdir(mode=0o700, parents=True)
    for file in (file for runtime in runtimes for file in runtime.parent.glob(f"{runtime.name}*")):
        os.link(file, folder / file.name)
    (tmp_path / "value.cuh").write_text("#define VALUE 1\n")
    return tmp_path


def value(folder, offset=0, source=SOURCE, mode="fast"):
    x = np.zeros(1, np.int32)
    options = [f"-DOFFSET={offset}", f"-I{folder}"]
    load(source, "value.cu", options, mode).kernels["k"].launch((1,), (1,), [buffer(x)])
    return x[0]


def compiled(cache):
    return sorted(p.name for p in (cache / "cache" / "builds").glob("value-*.so"))


def test_the_same_source_is_compiled_once(cache, monkeypatch):
    value(cache)
    monkeypatch.setattr(compiler, "_run", None)
    assert value(cache) == 1
    assert len(compiled(cache)) == 1


def test_a_change_of_source_header_option_or_mode_recompiles(cache):
    assert value(cache) == 1
    assert value(cache, offset=5) == 6
    assert value(cache, source=SOURCE.replace("x[0] =", "x[0] = 100 +")) == 101
    (cache / "value.cuh").write_text('#include "inner.cuh"\n')
    (cache / "inner.cuh").write_text("#define VALUE 2\n")
    assert value(cache) == 2
    (cache / "inner.cuh").write_text("#define VALUE 3\n")
    assert value(cache) == 3
    assert value(cache, mode="check") == 3
    assert len(compiled(cache)) == 6


def _compile_in_child(folder, results):
    results.put(int(value(folder)))


def test_processes_that_compile_at_the_same_time_do_not_disturb_each_other(cache):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    children = [context.Process(target=_compile_in_child, args=(cache, results)) for _ in range(2)]
    for child in children:
        child.start()
    assert [results.get(timeout=60) for _ in children] == [1] * 2
    for child in children:
        child.join()
    assert len(compiled(cache)) == 1
    assert not list((cache / "cache" / "builds").glob(".building-*"))


def test_a_compile_error_shows_file_and_line_and_leaves_nothing_behind(cache):
    with pytest.raises(CompileError, match=r"(?s)value.cu does not compile.*value.cu:2:\d+: error:.*OFFSET") as caught:
        compile_kernels(SOURCE, "value.cu", [f"-I{cache}"])
    assert "value.cu:2:" in str(caught.value)
    assert not compiled(cache)
    assert not list((cache / "cache" / "builds").glob(".building-*"))


def test_an_undefined_function_is_a_compile_error(cache):
    with pytest.raises(CompileError, match=r"(?s)value.cu does not compile.*undefined reference to `nowhere\(int\)'"):
        compile_kernels('int nowhere(int);\nextern "C" __global__ void k(int* x) { x[0] = nowhere(1); }\n', "value.cu")
    assert not compiled(cache)


def test_an_error_in_a_header_names_the_header(cache):
    (cache / "value.cuh").write_text("\n#define VALUE 1\n__device__ int broken() { return nothing; }\n")
    with pytest.raises(CompileError, match=r"value.cuh:3:\d+: error:"):
        compile_kernels(SOURCE, "value.cu", [f"-I{cache}", "-DOFFSET=0"])
    with pytest.raises(CompileError, match=r"value.cuh: No such file"):
        compile_kernels(SOURCE, "value.cu", [])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("int big[50000]; for (int& v : big) v = x[0]; x[1] = big[x[0]];", "frame size of 200000 bytes is larger"),
    ],
)
def test_unsupported_code_does_not_compile(cache, body, message):
    with pytest.raises(CompileError, match=rf"(?s)value.cu:1:\d+:.*{message}"):
        compile_kernels(f'extern "C" __global__ void k(int* x) {{ {body} }}', "value.cu")


def test_unknown_options_and_modes_are_refused(cache):
    with pytest.raises(ArgumentError, match="supports only -D, -U and -I; got --use_fast_math"):
        compile_kernels(SOURCE, "value.cu", ["--use_fast_math"])
    with pytest.raises(ArgumentError, match="mode: expected one of fast, check; got 'slow'"):
        compile_kernels(SOURCE, "value.cu", [], "slow")


def test_without_a_compiler_the_error_says_how_to_get_one(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(DeviceError, match=r"g\+\+ 12 or later; found none. Install it .*apt install g\+\+"):
        find_compiler.__wrapped__()


def test_another_compiler_or_system_is_named_in_the_error(monkeypatch, tmp_path):
    fake = tmp_path / "g++"
    fake.write_text('#!/bin/sh\necho "#define __GNUC__ 9"; echo "#define __GNUC_MINOR__ 4"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(DeviceError, match=r"found .*g\+\+ \(9.4\)"):
        find_compiler.__wrapped__()
    monkeypatch.setattr(compiler.sys, "platform", "darwin")
    with pytest.raises(DeviceError, match="runs on Linux x86-64, not on darwin"):
        find_compiler.__wrapped__()


def test_kernels_run_if_the_cache_is_not_writable(cache, monkeypatch):
    (cache / "file").write_text("")
    monkeypatch.setenv("GPUNET_CACHE", str(cache / "file"))
    with pytest.warns(GpunetWarning, match="GPUNET_CACHE"):
        assert value(cache) == 1


def test_a_truncated_library_is_recompiled(cache):
    assert value(cache) == 1
    library = cache / "cache" / "builds" / compiled(cache)[0]
    data = library.read_bytes()
    library.unlink()  # the old library is loaded and must not change
    library.write_bytes(data[: len(data) // 2])
    assert value(cache) == 1
    assert library.stat().st_size > len(data) // 2


def test_two_installations_share_libraries_and_findings_leave_out_the_lines_of_both(cache, monkeypatch):
    source = 'extern "C" __global__ void k(int* x) { atomicAdd(&x[99], 1); }'

    def found():
        with pytest.raises(KernelError) as caught:
            load(source, "value.cu", mode="check").kernels["k"].launch((1,), (1,), [buffer(np.zeros(1, np.int32))])
        return str(caught.value)

    moved = cache / "moved"
    shutil.copytree(compiler.RUNTIME, moved)
    with monkeypatch.context() as patch:
        patch.setattr(compiler, "RUNTIME", moved)
        patch.setattr(compiler, "STANDARD", moved / "standard")
        patch.setattr(compiler, "runtime_library", compiler.runtime_library.__wrapped__)
        of_the_other = found()
    assert "value.cu:1" in of_the_other
    assert ".h:" not in of_the_other
    monkeypatch.setattr(compiler, "_run", None)  # nothing is compiled
    assert found() == of_the_other
