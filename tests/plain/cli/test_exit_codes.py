"""The exit codes mean the same in every command."""

import sys

import pytest


@pytest.fixture
def bad(tmp_path):
    """A file that no command can use."""
    (tmp_path / "bad").write_bytes(b"\xff\x00")
    return tmp_path / "bad"


FILE_COMMANDS = [
    ("train", "{}", "--out", "{}/run"),
    ("train", "digits", "--out", "{}"),
    ("train", "--resume", "{}"),
    ("evaluate", "{}", "digits"),
    ("predict", "{}", "digits"),
    ("plot", "{}"),
    ("compare", "{}"),
    ("export", "{}", "model.onnx"),
    ("bench", "compare", "{}", "{}"),
    ("bench", "matmul", "--out", "{}/here"),
    ("bench", "matmul", "--device", "{}"),
    ("tune", "{}", "--batch-size", 8),
    ("check", "{}"),
    ("check", "{}", "--no-compile"),
    ("info", "--device", "{}"),
]


@pytest.mark.parametrize("command", FILE_COMMANDS, ids=lambda command: " ".join(map(str, command)))
@pytest.mark.parametrize("there", [True, False], ids=["bad", "missing"])
def test_what_cannot_be_done_exits_with_2_and_no_traceback(invoke, bad, command, there):
    given = bad if there else bad / "no"
    result = invoke(*[str(part).replace("{}", str(given)) for part in command])
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert "Error: " in result.stderr


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "plot", "compare", "export", "bench", "tune"])
def test_an_unknown_option_exits_with_2(invoke, command):
    assert invoke(command, "--no-such-option").exit_code == 2


def test_too_little_memory_exits_with_2_in_one_line(refused, monkeypatch, tmp_path):
    def no_memory(*_):
        raise MemoryError("no more")

    monkeypatch.setattr(sys.modules["gpunet.cli.train"], "load_parts", no_memory)
    line = refused("train", "digits", "--out", tmp_path / "run", "--json")
    assert line == "Error: out of memory; choose smaller sizes. no more"


def test_the_help_says_what_the_exit_codes_mean(invoke):
    assert "Exit codes: 0 done; 1 done, but" in " ".join(invoke("--help").stdout.split())
