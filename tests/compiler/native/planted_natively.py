"""Faults to plant in the CPU kernels: file, text, replacement, and the case that finds the fault."""

import shutil
from functools import partial

import numpy as np
from compiler.native import cases

from gpunet.device import kernels_path
from gpunet.optimizers import BLOCK, SGD, Adam, RMSprop

FLOAT = np.dtype(np.float32)


def skipped_step(folder):
    state = cases.State(Adam(), FLOAT, BLOCK + 1)
    state.g[-1] = np.inf
    before = state.p.copy()
    state.step(folder, "adam")
    np.testing.assert_array_equal(state.p, before)
    assert state.progress.tolist() == [5, 3, 5]


def out_of_range(folder):
    z, labels = cases.normal((3, 4), FLOAT), np.array([0, 4, 1])
    losses, dz = cases.cross_entropy_of(folder, z, labels)
    assert losses[1] == 0
    assert not dz[1].any()


relu = partial(cases.bias_activation, dtype=FLOAT, name="relu", rows=5, n=19)
columns = partial(cases.sum_columns, dtype=FLOAT, rows=5, n=19)
few_classes = partial(cases.cross_entropy, dtype=FLOAT, rows=19, classes=5, weighted=True, class_weighted=True)
many_classes = partial(cases.cross_entropy, dtype=FLOAT, rows=19, classes=37)
lone_maximum = partial(many_classes, logits=np.eye(19, 37, 18, FLOAT) * 200)
few_soft = partial(cases.cross_entropy, dtype=FLOAT, rows=19, classes=5, smoothing=0.1)
many_soft = partial(cases.cross_entropy, dtype=FLOAT, rows=19, classes=37, hard=False, class_weighted=True)
squared = partial(cases.elementwise_loss, dtype=FLOAT, name="mean_squared_error", rows=5, n=700)
huber = partial(cases.elementwise_loss, dtype=FLOAT, name="huber", rows=5, n=13, weight=np.arange(5, dtype=FLOAT))
absolute = partial(cases.elementwise_loss, dtype=FLOAT, name="absolute_error", rows=5, n=13)
of_rates = partial(cases.elementwise_loss, dtype=FLOAT, name="poisson_nll of rates", rows=5, n=13)
binary = partial(cases.elementwise_loss, dtype=FLOAT, name="binary_cross_entropy", rows=70, n=1)
total = partial(cases.total, dtype=FLOAT, n=37)
right = partial(cases.right_answers, dtype=FLOAT, rows=50, classes=10)
adam = partial(cases.optimizer_step, dtype=FLOAT, name="adam", optimizer=Adam(clip_norm=0.5), size=2 * BLOCK)
sgd = partial(cases.optimizer_step, dtype=FLOAT, name="sgd", optimizer=SGD(0.1, 0.9, True), size=9)
rmsprop = partial(cases.optimizer_step, dtype=FLOAT, name="rmsprop", optimizer=RMSprop(momentum=0.9), size=9)
clipped = partial(cases.optimizer_step, dtype=FLOAT, name="sgd", optimizer=SGD(0.1, clip_value=0.2), size=9)
rates = partial(cases.optimizer_step, dtype=FLOAT, name="sgd", optimizer=SGD(0.1), size=9, done=7)
averaged = partial(cases.average, dtype=FLOAT, size=9)
summed = partial(cases.gradient_sum, dtype=FLOAT, size=9)
dropout = partial(cases.dropout, dtype=FLOAT, rows=9, n=129, first_row=5)
entities = partial(cases.entity_embedding, dtype=FLOAT, rows=9, numbers=2)
gather = partial(cases.gather, rows=7, widths=(3, 2, 4))
features = partial(cases.gather_features, rows=7, width=5, source=np.dtype(np.uint8), dtype=FLOAT)
products = partial(cases.products, dtype=FLOAT, m=7, n=5, k=3)
no_products = partial(cases.products, dtype=FLOAT, m=3, n=2, k=0)

FAULTS = {
    "no bias": ("bias_activation.cpp", "BIAS ? z[j] + bias[j] : z[j]", "z[j]", relu),
    "the first row's preactivation": (
        "bias_activation.cpp",
        "KEEP ? preactivation + i * n",
        "KEEP ? preactivation",
        relu,
    ),
    "no derivative for the last row": (
        "bias_activation.cpp",
        "i < end * n; ++i) dz",
        "i < (end - 1) * n; ++i) dz",
        relu,
    ),
    "columns of the previous row": (
        "reduce.cpp",
        "sums[j] += a[i * n + j]",
        "sums[j] += a[i * rows + j]",
        columns,
    ),
    "the last columns omitted": (
        "reduce.cpp",
        "    sum_adjacent<WIDTH>(a + end",
        "    if (end == n - 1) sum_adjacent<WIDTH>(a + end",
        columns,
    ),
    "the lane of another row": (
        "softmax_cross_entropy.cpp",
        "smaller(l, count - 1) * classes",
        "0 * classes",
        few_classes,
    ),
    "a label without its smoothing share": (
        "softmax_cross_entropy.cpp",
        "tile.z[places[l]][l] -= group.mass[l];",
        "",
        few_classes,
    ),
    "a label that is not checked": ("softmax_cross_entropy.cpp", "&& labels[row] < classes", "", out_of_range),
    "a norm without class weights": (
        "softmax_cross_entropy.cpp",
        "if (!labels || !class_weight) return share;",
        "return share;",
        few_classes,
    ),
    "a maximum of the first lane": (
        "vector.h",
        "lanes[lane + width] > lanes[lane] ? lanes[lane + width] : lanes[lane]",
        "lanes[lane]",
        lone_maximum,
    ),
    "no smoothing": (
        "softmax_cross_entropy.cpp",
        "smooth(batch.smoothing / static_cast<T>(batch.classes))",
        "smooth(0)",
        few_soft,
    ),
    "no class weights": ("softmax_cross_entropy.cpp", "WEIGHTED ? class_weight[j] *", "WEIGHTED ?", many_soft),
    "a lost remainder": (
        "vector.h",
        "lane < n - i; ++lane) lanes[lane] += ",
        "lane < 0; ++lane) lanes[lane] += ",
        total,
    ),
    "only the first part of a wide row": (
        "losses.cpp",
        "losses[i] += share(i) * sum",
        "losses[i] = share(i) * sum",
        squared,
    ),
    "the Huber loss with another threshold": ("losses.cpp", "d < -delta ? -delta", "d < 0 ? -delta", huber),
    "negative errors with the weight of positive ones": ("losses.cpp", "? -below : d", "? -above : d", absolute),
    "a rate without its eps": ("losses.cpp", "const T rate = p + eps;", "const T rate = p;", of_rates),
    "no row weights": ("losses.cpp", "return weight[i] * share;", "return share;", huber),
    "a slope without its share": ("losses.cpp", "            slope[i] *= share(i);", "", binary),
    "the last of equal maxima": ("metrics.cpp", "!(z[j] < own)", "!(z[j] <= own)", right),
    "an ignored NaN": ("metrics.cpp", "!(z[j] <= own)", "z[j] > own", right),
    "another threshold of a target": ("metrics.cpp", "T(0.5)", "T(1)", right),
    "correct answers not accumulated": ("metrics.cpp", "totals[1] += static", "totals[1] = static", right),
    "squares of the first block only": (
        "optimizers.cpp",
        "part < parts; ++part) squares",
        "part < 1; ++part) squares",
        adam,
    ),
    "an infinite element that is not detected": ("optimizers.cpp", "x * x + (x - x)", "x * x", skipped_step),
    "a skipped step that is not recorded": ("optimizers.cpp", "max_norm) == 0;", "max_norm) < 0;", skipped_step),
    "a gradient clipped twice": (
        "optimizers.cpp",
        "CLIPPED ? factor * g[i]",
        "CLIPPED ? factor * factor * g[i]",
        adam,
    ),
    "Adam's step from 0 on": ("optimizers.cpp", "static_cast<double>(done + 1)", "static_cast<double>(done)", adam),
    "a learning rate that does not advance": (
        "optimizers.cpp",
        "smaller(place, count - 1)",
        "smaller<Int>(place, 0)",
        rates,
    ),
    "no look ahead": ("optimizers.cpp", "(look_ahead ?", "(!look_ahead ?", sgd),
    "a mean of g": ("optimizers.cpp", "rest * (g * g)", "rest * g", rmsprop),
    "an average that begins at its old value": ("optimizers.cpp", " : p[i];", " : mean[i];", averaged),
    "an average updated by a skipped step": (
        "optimizers.cpp",
        "if (clip_factor(partial_squares, parts, max_norm) == 0) return;",
        "",
        averaged,
    ),
    "only the last two parts summed": (
        "gradient_sum.cpp",
        "sum[i] = total[i] + weight",
        "sum[i] = g[i] + weight",
        summed,
    ),
    "the loss of the last part only": ("gradient_sum.cpp", "(part ? losses[0] : T(0))", "T(0)", summed),
    "clipped only below": ("optimizers.cpp", "g[i] > limit ? limit :", "", clipped),
    "the same dropout block for all": ("dropout.cpp", "place / DRAWS + block, step", "place / DRAWS, step", dropout),
    "a mask by the row in the batch": (
        "dropout.cpp",
        "static_cast<Word>(first_row) * n + i",
        "static_cast<Word>(i)",
        dropout,
    ),
    "a strict threshold": ("dropout.cpp", ">= least", "> least", dropout),
    "an unscaled gradient": ("dropout.cpp", "x[i] * scale", "x[i]", dropout),
    "an index past the table": ("embedding.cpp", "(entries - 1) &&", "(entries) &&", entities),
    "no row for unknown categories": ("embedding.cpp", "<Int>(k) + 1", "<Int>(k)", entities),
    "a table that is not zeroed": ("embedding.cpp", "e < entries * width", "e < width", entities),
    "vectors without the column offset": (
        "embedding.cpp",
        "width_y + first + j] = vector",
        "width_y + j] = vector",
        entities,
    ),
    "the beginning of the order": ("gather.cpp", "+ place[0]", "", gather),
    "features in unshuffled order": ("gather.cpp", "features + order[i] * n", "features + i * n", features),
    "a mean in float32": ("gather.cpp", "(static_cast<double>(x[j]) - mean[j])", "T(x[j] - mean[j])", features),
    "a batch that does not advance": ("gather.cpp", "place[0] += count;", "", gather),
    "a missing transpose": ("product.cpp", "multiply(gemm, TRANSPOSED", "multiply(gemm, NORMAL", products),
    "rows without an offset": ("product.cpp", "a + begin * lda", "a", products),
    "an empty sum that is not zero": ("product.cpp", "ldc + j] = 0", "ldc + j] = 1", no_products),
}


def plant(name, folder):
    """Plant a fault in a copy of the kernels in `folder`, and run its case."""
    file, right, wrong, case = FAULTS[name]
    shutil.copytree(kernels_path(), folder / "kernels")
    path = folder / "kernels" / "cpu" / file
    source = path.read_text(encoding="utf-8")
    assert right in source, "the kernel has changed: update the planted fault"
    path.write_text(source.replace(right, wrong, 1), encoding="utf-8")
    case(path.parent)
