"""C++ is compiled for this CPU with the first compiler whose libraries run; errors name file and line."""

import ctypes
import functools
import importlib.util
import re
import subprocess
import sys

import pytest

from gpunet import builds
from gpunet.errors import CompileError, DeviceError
from gpunet.native import compiler
from gpunet.native.compiler import Compiler, compile_library, find_compiler, why_unavailable

EXPORT = 'extern "C" __attribute__((visibility("default")))'
SOURCE = f'{EXPORT} int answer() {{ return ANSWER; }}\nextern "C" int internal() {{ return 1; }}\n'


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, after the compiler was found."""
    monkeypatch.setenv("GPUNET_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def no_compilers(tmp_path, monkeypatch):
    """A machine without a compiler."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    return tmp_path


def program(path, *lines):
    """Write a shell script that pretends to be a compiler."""
    version = 'case "$*" in *--version*) echo "c++ 1.0"; exit;; esac'
    path.write_text("\n".join(["#!/bin/sh", version, *lines, ""]))
    path.chmod(0o755)
    return str(path)


def answer(value, source=SOURCE):
    return ctypes.CDLL(str(compile_library(source, "kernels/answer.cpp", [f"-DANSWER={value}"]))).answer()


def test_a_library_runs_and_is_compiled_once(cache, monkeypatch):
    assert answer(42) == 42
    monkeypatch.setattr(builds, "run_compiler", None)
    assert answer(42) == 42
    assert len(list((cache / "cache" / "builds").glob("answer-native-*.so"))) == 1


def test_a_change_of_source_option_compiler_or_processor_recompiles(cache, monkeypatch):
    monkeypatch.setattr(builds, "run_compiler", lambda command, *_: open(command[-1], "w").close() or "")
    found = find_compiler()

    def library(source=SOURCE, options=(), compiler_=found):
        return compiler._compile(compiler_, source, "answer.cpp", options)

    first = library()
    assert library() == first
    changed = [
        library(source=SOURCE + "\n"),
        library(options=["-DANSWER=1"]),
        library(compiler_=Compiler((*found.command, "-g"), found.version)),
        library(compiler_=Compiler(found.command, "another version")),
    ]
    monkeypatch.setattr(builds, "_machine", lambda: ("linux", "x86_64", "glibc 2.36", "flags: sse"))
    assert len({first, *changed, library()}) == 6


def test_only_marked_functions_are_exported(cache):
    library = ctypes.CDLL(str(compile_library(SOURCE, "answer.cpp", ["-DANSWER=1"])))
    assert library.answer() == 1
    assert not hasattr(library, "internal")


def test_an_error_names_file_and_line(cache):
    with pytest.raises(
        CompileError, match=r"(?s)kernels/answer.cpp does not compile.*kernels/answer.cpp:1:\d+: error:"
    ):
        compile_library(SOURCE, "kernels/answer.cpp")
    with pytest.raises(CompileError, match=r"activation.h:8:\d+: error:"):
        compile_library('#line 7 "activation.h"\n\nint f() { return x; }\n', "kernels/answer.cpp")
    assert not list((cache / "cache").rglob("*.so"))


def test_the_libraries_of_a_step_are_compiled_together(cache):
    tasks = [functools.partial(answer, value) for value in range(3)]
    assert builds.together(tasks) == [0, 1, 2]


def test_a_compiler_is_tried_once_for_a_cache(cache, monkeypatch):
    compiler._tried.__wrapped__(find_compiler().command)
    real, calls = builds.run_compiler, []

    def run(command, *args):
        calls.append(command[-1])
        return real(command, *args)

    monkeypatch.setattr(builds, "run_compiler", run)
    assert isinstance(compiler._tried.__wrapped__(find_compiler().command), Compiler)
    assert calls == ["--version"]
    find_compiler()
    assert calls == ["--version"]


def test_the_compiler_in_cxx_comes_first_with_its_options(cache, monkeypatch):
    monkeypatch.setattr(compiler, "_tried", lambda command: Compiler(command, "1.0"))
    cxx = program(cache / "my-c++")
    monkeypatch.setenv("CXX", f"{cxx} -m64")
    assert find_compiler().command == (cxx, "-m64")


@pytest.mark.parametrize("lines", [["exit 1"], ["exit 0"]])
def test_a_failing_compiler_is_skipped(cache, monkeypatch, lines):
    usual = find_compiler()
    monkeypatch.setenv("CXX", program(cache / "broken-c++", *lines))
    assert find_compiler() == usual


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["echo 'fatal error: cmath: No such file' >&2", "exit 1"], "fatal error: cmath: No such file"),
        (["exit 4"], "ended with status 4 and no message"),
        ([], "reported no error, but wrote no library"),
        (
            ["for last; do :; done", "echo text > $last"],
            "its library does not load: .*(file too short|invalid ELF|not a)",
        ),
    ],
)
def test_the_reason_names_each_compilers_problem_and_a_fix(cache, no_compilers, lines, reason):
    path = program(no_compilers / "g++", *lines)
    with pytest.raises(
        DeviceError, match=rf"^native: no working C\+\+ compiler \({re.escape(path)}: .*{reason}"
    ) as caught:
        find_compiler()
    assert 'pip install "gpunet[native]"' in str(caught.value)
    assert why_unavailable() == str(caught.value).removeprefix("native: ")
    with pytest.raises(DeviceError, match=r"no working C\+\+ compiler"):
        compile_library(SOURCE, "answer.cpp")


def test_a_compiler_whose_libraries_compute_wrong_results_is_refused(cache):
    wrong = compile_library(f"{EXPORT} int gpunet_probe(int x) {{ return x; }}", "wrong.cpp")
    path = program(cache / "g++", "for last; do :; done", f"cp {wrong} $last")
    assert compiler._tried((path,)) == "its library computes 1764 instead of 42"


def test_without_a_compiler_the_reason_says_how_to_get_one(no_compilers):
    assert "g++, clang++ and the package ziglang are not installed" in why_unavailable()
    assert "apt install g++" in why_unavailable()


def test_a_program_that_is_not_a_compiler_is_named(no_compilers, monkeypatch):
    path = no_compilers / "text"
    path.write_text("#!/nowhere\n")
    path.chmod(0o755)
    monkeypatch.setenv("CXX", str(path))
    assert f"({path}: {path}: No such file or directory)" in why_unavailable()


def test_native_kernels_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("GPUNET_NATIVE", "0")
    assert why_unavailable() == "disabled by the environment variable GPUNET_NATIVE=0."
    with pytest.raises(DeviceError, match="GPUNET_NATIVE=0"):
        compile_library(SOURCE, "answer.cpp")


def test_the_error_on_windows_points_to_wsl(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert "use WSL" in why_unavailable()


def test_the_package_ziglang_is_the_last_resort(no_compilers, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "ziglang")
    monkeypatch.setattr(compiler, "_tried", lambda command: Compiler(command, "clang 19"))
    assert find_compiler().command == (sys.executable, "-m", "ziglang", "c++")
    program(no_compilers / "clang++")
    assert find_compiler().command == (str(no_compilers / "clang++"),)
    program(no_compilers / "g++")
    assert find_compiler().command == (str(no_compilers / "g++"),)


def test_a_mac_without_developer_tools_is_not_asked_to_install_them(no_compilers, monkeypatch):
    program(no_compilers / "g++")
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 2))
    assert list(compiler._candidates()) == []
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    assert list(compiler._candidates()) == [(str(no_compilers / "g++"),)]
