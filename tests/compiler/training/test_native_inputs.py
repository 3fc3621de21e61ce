"""`Trainer.step` on the CPU reads C-contiguous arrays in place, others from a copy, and never an older batch."""

import numpy as np
import pytest
from native_steps import X, Y, assert_follows, bits, make

import gpunet as gn
from gpunet.errors import DataError, OutOfMemoryError
from gpunet.native import Program
from gpunet.training.step import inputs
from gpunet.training.step.host import NativeExecutor

pytestmark = pytest.mark.usefixtures("native_cpu")

ROWS = 20
BATCHES = [(X[i : i + ROWS].copy(), Y[i : i + ROWS].copy()) for i in range(0, 80, ROWS)]


def misaligned(a):
    memory = np.empty(a.nbytes + 1, np.uint8)[1:]
    out = memory.view(a.dtype).reshape(a.shape)
    out[...] = a
    assert not out.flags.aligned
    return out


def strided(a):
    wide = np.full((2 * len(a), *a.shape[1:]), 77, a.dtype)
    wide[::2] = a
    return wide[::2]


def read_only(a):
    out = a.copy()
    out.flags.writeable = False
    return out


def shifted(a):
    """The same rows in a larger array, at no multiple of a vector's size."""
    larger = np.full((len(a) + 2, *a.shape[1:]), 77, a.dtype)
    larger[1:-1] = a
    return larger[1:-1]


def column_part(a):
    if a.ndim == 1:
        return strided(a)
    larger = np.full((len(a), a.shape[1] + 3), 77, a.dtype)
    larger[:, 2:-1] = a
    return larger[:, 2:-1]


def mapped(a):
    class Own(np.ndarray):
        pass

    return a.copy().view(Own)


FORMS = {
    "contiguous": np.copy,
    "strided": strided,
    "reversed": lambda a: a[::-1].copy()[::-1],
    "Fortran-ordered": np.asfortranarray,
    "read-only": read_only,
    "misaligned": misaligned,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "part of rows": shifted,
    "part of columns": column_part,
    "of a subclass": mapped,
    "lists": lambda a: a.tolist(),
    "repeated by strides": lambda a: np.broadcast_to(a[:1], a.shape),
}


def run(executor, batches, **options):
    one = make(executor, dropout=0.2, **options)
    losses = [float(one.step(*batch)) for batch in batches]
    return one, losses


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_of_any_layout_equal_contiguous_ones_bitwise_and_are_not_written(form, dtype):
    to_form = FORMS[form]
    for weighted in (False, True):
        given, plain = [], []
        for x, y in BATCHES:
            arrays = x.astype(dtype), y, np.linspace(0, 2, ROWS, dtype=dtype)
            batch = [to_form(a) for a in arrays[: 2 + weighted]]
            given.append(batch)
            kinds = [dtype, np.int64, dtype]
            plain.append([np.array(a, kind) for a, kind in zip(batch, kinds[: len(batch)], strict=True)])
        before = [[np.array(a) for a in batch] for batch in given]
        one, losses = run("native", given, dtype=dtype)
        other, expected = run("native", plain, dtype=dtype)
        assert losses == expected
        for a, b in zip(bits(one), bits(other), strict=True):
            np.testing.assert_array_equal(a, b)
        for batch, kept in zip(given, before, strict=True):
            for a, b in zip(batch, kept, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64", ">i4"])
def test_labels_of_every_integer_type_equal_int64_bitwise(kind):
    labels = [(x, y % 2) for x, y in BATCHES]
    one, losses = run("native", [(x, y.astype(kind)) for x, y in labels])
    other, expected = run("native", labels)
    assert losses == expected
    for a, b in zip(bits(one), bits(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["float64", "float16", "int32", "uint8"])
def test_features_of_other_types_are_converted(kind):
    rounded = [(np.abs(np.round(x)).astype(kind), y) for x, y in BATCHES]
    one, losses = run("native", rounded)
    other, expected = run("native", [(x.astype(np.float32), y) for x, y in rounded])
    assert losses == expected
    np.testing.assert_array_equal(bits(one)[0], bits(other)[0])


def test_contiguous_arrays_are_read_in_place(monkeypatch):
    copied = []
    real = inputs._copied
    monkeypatch.setattr(inputs, "_copied", lambda a, fixed: copied.append(a) or real(a, fixed))
    one, other = make("native"), make("numpy")
    x, y = BATCHES[0][0].copy(), BATCHES[0][1].copy()
    for new_x, new_y in BATCHES * 2:
        x[...], y[...] = new_x, new_y
        assert float(one.step(x, y)) == pytest.approx(float(other.step(new_x.tolist(), new_y.tolist())), rel=1e-5)
    assert not [a for a in copied if a is x or a is y]
    assert_follows(one, other, history=False)


@pytest.mark.parametrize("form", [strided, misaligned])
def test_only_arrays_that_kernels_cannot_read_are_copied(form, monkeypatch):
    copied = []
    real = inputs._copied
    monkeypatch.setattr(inputs, "_copied", lambda a, fixed: copied.append(a) or real(a, fixed))
    one = make("native")
    for x, y in BATCHES:
        x = form(x)
        one.step(x, y)
        assert copied[-1] is x
        assert not [a for a in copied if a is y]


def test_arrays_that_are_read_in_place_are_kept_alive():
    one, other = make("native"), make("native")
    for x, y in BATCHES * 3:
        first = float(one.step(x.copy(), y.copy()))  # freed behind the call unless the step keeps it
        junk = [np.full_like(x, np.nan) for _ in range(8)]
        assert first == float(other.step(x, y))
        del junk
    np.testing.assert_array_equal(bits(one)[0], bits(other)[0])


def test_batches_alternate_between_in_place_and_copied_in_any_combination():
    one, other = make("native"), make("numpy")
    forms = [np.copy, strided, read_only, misaligned, shifted, mapped]
    rng = np.random.default_rng(0)
    for step in range(60):
        x, y = BATCHES[step % len(BATCHES)]
        make_x, make_y = (forms[i] for i in rng.integers(len(forms), size=2))
        assert float(one.step(make_x(x), make_y(y))) == pytest.approx(float(other.step(x, y)), rel=1e-5)
    assert_follows(one, other)


def test_features_that_are_their_own_targets_are_read_twice():
    x = BATCHES[0][0]
    pair = [make(executor, sizes=(5, 8, 5), loss=gn.MSELoss()) for executor in ("native", "numpy")]
    for one in pair:
        for _ in range(5):
            one.step(x, x)
    assert_follows(*pair)


def test_alternating_batch_shapes_and_dtypes_follow_numpy():
    pair = [make(executor, dropout=0.2) for executor in ("native", "numpy")]
    for one in pair:
        for i, rows in enumerate([20, 7, 1, 20, 3, 7, 40, 2, 20]):
            x = X[i : i + rows].astype([np.float32, np.float64][i % 2])
            one.step(x, Y[i : i + rows])
    assert_follows(*pair)


def test_a_fit_between_single_steps_does_not_change_their_data():
    pair = [make(executor) for executor in ("native", "numpy")]
    for one in pair:
        one.step(*BATCHES[0])
        one.fit(X, Y, epochs=2, batch_size=ROWS)
        one.step(*BATCHES[1])
        one.fit(X, Y, epochs=1, batch_size=ROWS)
        one.step(*BATCHES[2])
    assert_follows(*pair)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError])
def test_a_failed_step_does_not_read_its_batch_again(error, monkeypatch):
    one, other = make("native"), make("numpy")
    for each in (one, other):
        each.step(*BATCHES[0])

    def break_off(self, steps):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(NativeExecutor, "run", break_off)
        with pytest.raises((error, OutOfMemoryError)):
            one.step(*BATCHES[1])
    for batch in BATCHES[2:] + BATCHES:
        assert float(one.step(*batch)) == pytest.approx(float(other.step(*batch)), rel=1e-5)
    assert_follows(one, other)


def test_a_step_interrupted_before_it_is_counted_is_counted(monkeypatch):
    one, other = (make("native", gn.Adam(gn.StepLR(0.01, 2, 0.5)), dropout=0.2) for _ in range(2))
    real = Program.run

    def run(self, steps=1):
        real(self, steps)
        raise KeyboardInterrupt

    for number, batch in enumerate(BATCHES * 2):
        other.step(*batch)
        with monkeypatch.context() as patch:
            if number in (0, 3, 4):
                patch.setattr(Program, "run", run)
                with pytest.raises(KeyboardInterrupt):
                    one.step(*batch)
            else:
                one.step(*batch)
        assert one.optimizer.steps == number + 1
    for a, b in zip(bits(one), bits(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("label", [-1, 3, 2**40])
@pytest.mark.parametrize("form", [np.copy, strided, read_only], ids=["contiguous", "strided", "read-only"])
def test_a_batch_with_a_label_out_of_range_is_refused_and_not_read_by_the_next_step(label, form):
    one, other = make("native"), make("numpy")
    for x, y in BATCHES:
        wrong = y.copy()
        wrong[-1] = label
        with pytest.raises(DataError, match=f"{label}"):
            one.step(form(np.full_like(x, np.nan)), form(wrong))
        assert float(one.step(x, y)) == pytest.approx(float(other.step(x, y)), rel=1e-5)
    assert_follows(one, other)


def test_a_model_whose_first_layer_is_not_linear_reads_its_batch_in_place():
    for first in (lambda: gn.Dropout(0.3), gn.Tanh, gn.Flatten):
        pair = [
            gn.Trainer(gn.Sequential(first(), gn.Linear(5, 3, rng=0)), executor=executor)
            for executor in ("native", "numpy")
        ]
        for one in pair:
            for batch in BATCHES * 3:
                one.step(*batch)
        assert_follows(*pair)


def test_steps_with_layers_in_numpy_read_each_batch():
    pair = [
        gn.Trainer(
            gn.Sequential(
                gn.LayerNorm(5), gn.Linear(5, 8, activation="relu", rng=0), gn.BatchNorm1d(8), gn.Linear(8, 3, rng=1)
            ),
            executor=executor,
        )
        for executor in ("native", "numpy")
    ]
    for one in pair:
        for x, y in BATCHES * 3:
            one.step(x.copy(), y.copy())
    assert_follows(*pair)


@pytest.mark.parametrize("executor", ["eager", "numpy", "native"])
def test_features_and_targets_of_other_dtypes_are_refused_before_the_step(executor):
    one = gn.Trainer(gn.MLP([4, 3]), executor=executor)
    for features, y in ((np.ones((2, 4), complex), np.zeros(2, int)), (np.ones((2, 4)), np.array(["a", "b"]))):
        with pytest.raises(gn.errors.DTypeError, match="is not real"):
            one.step(features, y)
    with pytest.raises(gn.errors.ArgumentError, match="the batch has no rows"):
        one.step(np.ones((0, 4)), np.zeros(0, int))
    assert one.optimizer.steps == 0
