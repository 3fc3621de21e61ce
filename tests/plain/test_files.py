"""Model files are complete or refused, whatever happens to them and to the process that writes them."""

import errno
import json
import os
import pickle
import re
import stat
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from every_layer import EXAMPLES, example
from numpy.testing import assert_array_equal

import gpunet as gn
from gpunet import files
from gpunet.data import Standardizer
from gpunet.errors import ArgumentError, ModelFileError
from gpunet.ops.activations import FUNCTIONS

X = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)


def small_model() -> gn.Sequential:
    model = gn.Sequential(gn.Linear(6, 4, rng=0), gn.LeakyReLU(0.2), gn.Dropout(0.25), gn.Linear(4, 2, rng=1))
    model.task, model.classes = "classification", ("n0", 'ÿes "q"\\')
    model.input_scaler = Standardizer.fit(X)
    return model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_a_loaded_model_predicts_bitwise_equally_and_keeps_its_attributes(self, path, dtype):
        model = small_model().to(dtype=dtype)
        model.store.params += np.random.default_rng(2).standard_normal(model.store.params.shape)
        model.save(path)
        twin = gn.load(str(path))
        assert twin.dtype == dtype
        assert repr(twin) == repr(model)
        assert (twin.task, twin.classes, twin.schema) == (model.task, model.classes, None)
        for key, a in model.parameters().items():
            assert_array_equal(twin.parameters()[key], a, strict=True)
        assert_array_equal(twin.outputs(X), model.outputs(X), strict=True)
        assert_array_equal(twin.predict(X), model.predict(X), strict=True)

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_every_activation_is_saved_and_loaded(self, path, name):
        model = gn.Sequential(gn.Linear(6, 3, activation=name), gn.Activation(name))
        model.save(path)
        assert_array_equal(gn.load(path).forward(X), model.forward(X))

    def test_nested_models_and_models_without_parameters_are_saved_and_loaded(self, path):
        inner = small_model()
        inner.input_scaler = None
        for model in (
            gn.Sequential(gn.Flatten(), inner, gn.Sequential(gn.ELU(0.5), gn.Linear(2, 3, bias=False))),
            gn.MLP([6, 5, 3], dropout=0.5),
            gn.Sequential(gn.Flatten()),
        ):
            model.save(path)
            assert_array_equal(gn.load(path).forward(X), model.forward(X))

    @pytest.mark.parametrize(
        "targets", [[1.0, 2, 6], [[1.0], [2], [6]], [[1.0, 2], [3, 4]]], ids=["(n,)", "(n, 1)", "(n, 2)"]
    )
    def test_predictions_are_in_the_units_of_the_targets(self, path, targets):
        model = gn.MLP([6, np.array(targets)[0].size])
        model.task, model.target_scaler = "regression", Standardizer.fit(targets)
        model.save(path)
        assert_array_equal(gn.load(path).predict(X), model.predict(X), strict=True)

    def test_arrays_of_any_layout_and_dtype_are_read_back(self, path):
        a = np.arange(12.0).reshape(3, 4)
        arrays = {
            "F": np.asfortranarray(a),
            "strided": a[::2, ::-1],
            "broadcast": np.broadcast_to(a[0], (3, 4)),
            "scalar": np.array(2.5),
            "empty": np.empty((0, 3), np.float32),
            "int": np.array([-1, 2]),
            "bool": np.array([True, False]),
        }
        files.write_arrays(path, arrays, {"kind": "test", "note": 'ü\n"\\'})
        back, description = files.read_arrays(path, "test")
        assert description == {"version": files.VERSION, "kind": "test", "note": 'ü\n"\\'}
        assert back.keys() == arrays.keys()
        for name, b in back.items():
            assert_array_equal(b, arrays[name], strict=True)

    @pytest.mark.parametrize("name", EXAMPLES)
    def test_equal_models_give_equal_bytes_also_when_loaded_and_saved_again(self, path, name):
        twins, files = (example(name)[0], example(name)[0]), set()
        for model in (*twins, *(twins[0],) * 5):
            model.save(path)
            files.add(path.read_bytes())
        gn.load(path).save(path)
        assert files == {path.read_bytes()}

    @pytest.mark.parametrize(
        "make",
        [
            lambda one: gn.LSTM(4, 5, bias=one, return_sequences=one, rng=0),
            lambda one: gn.MultiHeadAttention(4, 2, bias=one, causal=one, rng=0),
            lambda one: gn.Conv2d(one, 2, 3, stride=one, padding=(one, one), bias=one, rng=0),
            lambda one: gn.BatchNorm1d(3, eps=one, momentum=one, affine=one, track_running_stats=one),
            lambda one: gn.LayerNorm(one, eps=one, elementwise_affine=one, bias=one),
            lambda one: gn.Linear(one, one, bias=one, activation=gn.ELU(one), rng=0),
            lambda one: gn.Sequential(gn.Dropout(one), gn.GLU(one), gn.SwiGLU(one, one, bias=one, rng=0)),
        ],
    )
    def test_numbers_of_any_type_give_the_same_bytes(self, path, make):
        files = set()
        for one in (1, True, np.int64(1)):
            gn.Sequential(make(one)).save(path)
            files.add(path.read_bytes())
        assert len(files) == 1

    def test_equal_models_of_two_processes_give_equal_bytes(self, path):
        gn.MLP([6, 5, 3], dropout=0.5).save(path)
        here = path.read_bytes()
        program = "import sys, gpunet as gn; gn.MLP([6, 5, 3], dropout=0.5).save(sys.argv[1])"
        for seed in "12":
            environment = {**os.environ, "PYTHONHASHSEED": seed}
            subprocess.run([sys.executable, "-c", program, str(path)], check=True, env=environment)
            assert path.read_bytes() == here

    def test_a_file_can_be_written_over(self, path):
        gn.MLP([2, 1]).save(path)
        small_model().save(path)
        assert repr(gn.load(path)) == repr(small_model())
        assert os.listdir(path.parent) == [path.name]


class TestDamage:
    @pytest.fixture
    def data(self, path) -> bytes:
        small_model().save(path)
        return path.read_bytes()

    def test_a_flipped_bit_anywhere_is_refused(self, path, data):
        bits = np.random.default_rng(0).integers(0, 8, len(data))
        for position, bit in enumerate(bits):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(ModelFileError):
                gn.load(path)

    def test_every_truncation_is_refused(self, path, data):
        for length in range(0, len(data), 3):
            path.write_bytes(data[:length])
            with pytest.raises(ModelFileError):
                gn.load(path)

    def test_trailing_bytes_are_refused(self, path, data):
        path.write_bytes(data + b"\0")
        with pytest.raises(ModelFileError):
            gn.load(path)

    def test_the_error_names_the_file_and_what_is_wrong(self, path, data):
        path.write_bytes(data[:-1])
        with pytest.raises(ModelFileError, match=r"model\.safetensors: not a valid safetensors file"):
            gn.load(path)
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(ModelFileError, match=r"model\.safetensors: wrong checksum"):
            gn.load(path)


class TestForeignFiles:
    def test_a_safetensors_file_of_another_program_is_refused(self, path):
        for metadata in (None, {"format": "pt"}, {"gpunet": "{}"}):
            safetensors.numpy.save_file({"weight": X}, path, metadata)
            with pytest.raises(ModelFileError, match=r"not written by gpunet|wrong checksum"):
                gn.load(path)

    def test_a_pickle_is_refused_and_never_run(self, path):
        marker = path.with_name("was run")

        class Malicious:
            def __reduce__(self):
                return Path.touch, (marker,)

        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            path.write_bytes(pickle.dumps(Malicious(), protocol))
            with pytest.raises(ModelFileError, match="never opens pickled models"):
                gn.load(path)
            assert not marker.exists()

    def test_files_of_other_formats_are_refused(self, path):
        np.savez(path.with_suffix(".npz"), weight=X)
        npz = path.with_suffix(".npz").read_bytes()
        for data in (npz, b"", b"\0" * 8, b"\xff" * 100, b"{}", b"weights\n" * 100):
            path.write_bytes(data)
            with pytest.raises(ModelFileError, match=r"not a valid safetensors file|not written by gpunet"):
                gn.load(path)

    def test_another_kind_or_version_of_gpunet_file_is_refused(self, path, monkeypatch):
        files.write_arrays(path, {}, {"kind": "checkpoint"})
        with pytest.raises(ModelFileError, match="contains a 'checkpoint', not a 'model'"):
            gn.load(path)
        with monkeypatch.context() as patch:
            patch.setattr(files, "VERSION", 99)
            small_model().save(path)
        with pytest.raises(ModelFileError, match="format version 99; this version of gpunet reads 1"):
            gn.load(path)

    @pytest.mark.parametrize(
        "change", [{"model": {"type": "Exec"}}, {"model": {}}, {"dtype": "float99"}, {"model": None}]
    )
    def test_an_unknown_description_is_refused(self, path, change):
        arrays, description = small_model().to_arrays()
        files.write_arrays(path, arrays, {"kind": "model", **description, **change})
        with pytest.raises(ModelFileError, match=r"model\.safetensors: this version of gpunet cannot read the file: "):
            gn.load(path)

    def test_arrays_that_are_missing_or_of_another_shape_are_refused(self, path):
        arrays, description = small_model().to_arrays()
        key = "params.0.weight"
        for changed in ({k: a for k, a in arrays.items() if k != key}, {**arrays, key: arrays[key].T}):
            files.write_arrays(path, changed, {"kind": "model", **description})
            with pytest.raises(ModelFileError, match="weight"):
                gn.load(path)

    def test_all_arrays_that_do_not_fit_are_listed(self, path):
        arrays, description = small_model().to_arrays()
        wrong = {name: a for name, a in arrays.items() if name != "params.0.bias"}
        wrong["params.0.weight"] = arrays["params.0.weight"].T
        files.write_arrays(path, wrong, {"kind": "model", **description})
        with pytest.raises(ModelFileError, match=r"params\.0\.weight is float32 .*, params\.0\.bias is missing"):
            gn.load(path)
        files.write_arrays(path, {**arrays, "params.9.weight": X}, {"kind": "model", **description})
        with pytest.raises(ModelFileError, match=r"it has 'params\.9\.weight', which belong to no layer"):
            gn.load(path)

    def test_sizes_beyond_the_file_are_refused_before_allocation(self, path):
        arrays, description = small_model().to_arrays()
        for sizes in ({"in_features": 2**20, "out_features": 2**20}, {"out_features": 10**30}):
            changed = json.loads(json.dumps(description))
            changed["model"]["layers"][0] |= sizes
            files.write_arrays(path, arrays, {"kind": "model", **changed})
            tracemalloc.start()
            try:
                with pytest.raises(ModelFileError, match="have more elements than the file"):
                    gn.load(path)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert peak < 2**20

    def test_non_finite_weights_are_refused_unless_allow_nan(self, path):
        model = small_model()
        model.parameters()["0.weight"][0, 0] = np.nan
        model.save(path)
        with pytest.raises(ModelFileError, match=r"NaN or infinity in 'params\.0\.weight'.*allow_nan=True"):
            gn.load(path)
        assert np.isnan(gn.load(path, allow_nan=True).parameters()["0.weight"]).any()

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes with names")
    def test_non_regular_files_are_refused_without_blocking(self, path, tmp_path):
        os.mkfifo(path)
        for place in (path, tmp_path, Path("/dev/zero")):
            with pytest.raises(ModelFileError, match="not a regular file"):
                gn.load(place)

    def test_the_folder_of_a_run_is_refused_with_the_file_of_its_model(self, path):
        small_model().save(path)
        said = f"{path.parent} is a folder; load {path}."
        with pytest.raises(ModelFileError, match=f"^{re.escape(said)}$"):
            gn.load(path.parent)

    def test_a_missing_file_is_named(self, path):
        with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
            gn.load(path)


class Mine(gn.Linear):
    """A layer of a user's own, which no file can rebuild."""


class TestWriting:
    @pytest.mark.parametrize(
        "layer",
        [
            gn.CustomActivation(np.square, lambda z: 2 * z),
            gn.Linear(4, 4, activation=gn.CustomActivation(np.square, lambda z: 2 * z)),
            Mine(4, 4),
            gn.Layer(),
        ],
        ids=["activation", "linear", "subclass", "layer"],
    )
    def test_a_model_with_code_of_your_own_is_refused_and_leaves_the_old_file_whole(self, path, layer):
        gn.MLP([2, 1]).save(path)
        before = path.read_bytes()
        with pytest.raises(ArgumentError, match="cannot be saved"):
            gn.Sequential(gn.Linear(4, 4), layer).save(path)
        assert path.read_bytes() == before
        assert os.listdir(path.parent) == [path.name]

    @pytest.mark.parametrize("call", ["fsync", "replace"])
    @pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr)
    def test_a_failed_write_keeps_the_old_file_and_leaves_no_temporary_file(self, path, monkeypatch, call, error):
        gn.MLP([2, 1]).save(path)
        before = path.read_bytes()

        def fail(*args: object) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(files.os, call, fail)
            with pytest.raises(type(error)):
                small_model().save(path)
        assert path.read_bytes() == before
        assert os.listdir(path.parent) == [path.name]

    def test_the_file_and_on_posix_its_folder_are_synced_before_save_returns(self, path, monkeypatch):
        synced = []
        monkeypatch.setattr(files.os, "fsync", lambda fd: synced.append(stat.S_ISDIR(os.fstat(fd).st_mode)))
        small_model().save(path)
        assert synced == ([False, True] if os.name == "posix" else [False])

    def test_a_missing_folder_is_an_os_error(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            small_model().save(tmp_path / "nowhere" / "model.safetensors")

    @pytest.mark.skipif(os.name == "nt", reason="Windows lets few users make links")
    def test_writing_through_a_symbolic_link_keeps_the_link(self, path):
        link = path.with_name("link")
        link.symlink_to(path.name)
        for data in (b"new", b"over"):
            files.write_bytes(link, data)
            assert link.is_symlink()
            assert path.read_bytes() == data

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_a_pipe_is_written_into_not_replaced(self, tmp_path):
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        files.write_bytes(pipe, b"data")
        assert os.read(reader, 10) == b"data"
        os.close(reader)
        assert pipe.is_fifo()

    @pytest.mark.parametrize("call", ["fsync", "replace"])
    def test_a_failed_write_names_the_file_that_was_asked_for(self, path, monkeypatch, call):
        monkeypatch.setattr(files.os, call, lambda *args: os.open(path.parent / "nowhere" / "x", os.O_RDONLY))
        with pytest.raises(FileNotFoundError) as caught:
            files.write_bytes(path, b"data")
        assert (caught.value.filename, caught.value.filename2) == (str(path), None)

    def test_a_folder_is_not_written_over(self, tmp_path):
        (tmp_path / "folder").mkdir()
        with pytest.raises(OSError, match="folder"):
            files.write_bytes(tmp_path / "folder", b"data")

    def test_temporary_files_of_killed_writers_are_removed_once_they_are_old(self, path):
        old, young, other = (
            path.with_name(f".{name}.tmp") for name in (f"{path.name}.1-a", f"{path.name}.2-b", "x.3-c")
        )
        for left in (old, young, other):
            left.touch()
        for left in (old, other):
            os.utime(left, (time.time() - 7200,) * 2)
        small_model().save(path)
        assert set(os.listdir(path.parent)) == {path.name, young.name, other.name}

    def test_a_writer_killed_at_any_time_leaves_a_whole_file(self, tmp_path):
        program = (
            "import sys, gpunet as gn\n"
            "models = [gn.MLP([300, 200, 10], seed=seed) for seed in (0, 1)]\n"
            "models[0].save(sys.argv[1])\n"
            "print('ready', flush=True)\n"
            "while True:\n"
            "    for model in models:\n"
            "        model.save(sys.argv[1])\n"
        )
        paths = [tmp_path / f"{i}.safetensors" for i in range(4)]
        writers = [subprocess.Popen([sys.executable, "-c", program, str(p)], stdout=subprocess.PIPE) for p in paths]
        for delay, writer in enumerate(writers):
            with writer:
                assert writer.stdout.readline().strip() == b"ready"
                time.sleep(0.003 * delay)
                writer.kill()
        whole = [gn.MLP([300, 200, 10], seed=seed).parameters()["0.weight"] for seed in (0, 1)]
        for p in paths:
            weight = gn.load(p).parameters()["0.weight"]
            assert any(np.array_equal(weight, expected) for expected in whole)
