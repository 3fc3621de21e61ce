"""Compare metrics with scikit-learn's, and use scikit-learn's as metrics of a Trainer."""

from functools import partial

import numpy as np
import pytest
import sklearn.metrics as theirs
from problems import classification, net, regression

import gpunet as gn
from gpunet import metrics
from gpunet.errors import ArgumentError, DataError
from gpunet.losses import BCEWithLogitsLoss

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.UndefinedMetricWarning", "ignore:No positive class found"
)

RNG = np.random.default_rng(0)
N = 300


SCORES = {
    "random": lambda classes: RNG.dirichlet(np.ones(classes), N),
    "tied": lambda classes: RNG.multinomial(10, np.ones(classes) / classes, N) / 10,
    "all equal": lambda classes: np.full((N, classes), 1 / classes),
    "certain": lambda classes: np.eye(classes)[RNG.integers(0, classes, N)],
}
TARGETS = {
    "random": lambda classes: np.arange(N) % classes,
    "rare": lambda classes: np.minimum(np.arange(N), classes - 1),
}


@pytest.fixture(params=SCORES)
def scores(request):
    return SCORES[request.param]


@pytest.fixture(params=TARGETS)
def target(request):
    return TARGETS[request.param]


def same(ours, expected):
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "log_loss"])
def test_metrics_of_two_classes_are_scikit_learns(name, scores, target):
    t, p = target(2), scores(2)
    expected = getattr(theirs, name if name == "log_loss" else f"{name}_score")(t, p[:, 1])
    for given in (p, p[:, 1], p[:, 1:], p.tolist()):
        same(getattr(metrics, name)(t, given), expected)
    same(getattr(metrics, name)(np.eye(2)[t], p), expected)


def test_metrics_of_several_classes_are_scikit_learns(scores, target):
    t, p = target(4), scores(4)
    same(metrics.roc_auc(t, p), theirs.roc_auc_score(t, p, multi_class="ovr"))
    same(metrics.average_precision(t, p), theirs.average_precision_score(t, p))
    same(metrics.log_loss(t, p), theirs.log_loss(t, p))


def test_scores_of_any_scale_rank_samples():
    t, s = RNG.integers(0, 2, N), RNG.integers(-3, 3, N)
    same(metrics.roc_auc(t, s), theirs.roc_auc_score(t, s))
    same(metrics.roc_auc(t, (s + 3).astype(np.uint8)), theirs.roc_auc_score(t, s))
    same(metrics.average_precision(t == 1, s > 0), theirs.average_precision_score(t, s > 0))


def test_metrics_if_only_one_class_occurs():
    ones, p = np.ones(5, int), RNG.random(5)
    assert np.isnan(metrics.roc_auc(ones, p))
    assert np.isnan(theirs.roc_auc_score(ones, p))
    same(metrics.average_precision(ones, p), theirs.average_precision_score(ones, p))
    same(metrics.average_precision(1 - ones, p), theirs.average_precision_score(1 - ones, p))
    same(metrics.log_loss(ones, p), theirs.log_loss(ones, p, labels=[0, 1]))


def test_a_class_that_does_not_occur_is_left_out_of_the_mean():
    t, p = np.array([0, 2, 0, 2, 2]), RNG.dirichlet(np.ones(3), 5)
    one_against_rest = [theirs.roc_auc_score(t == k, p[:, k]) for k in (0, 2)]
    same(metrics.roc_auc(t, p), np.mean(one_against_rest))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_are_clipped_by_the_eps_of_their_dtype(dtype):
    p = np.array([[0, 1], [1, 0]], dtype)
    assert metrics.log_loss([0, 0], p) == pytest.approx(theirs.log_loss([0, 0], p, labels=[0, 1]), rel=1e-6)


@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
@pytest.mark.parametrize("average", ["macro", "micro", "weighted", None])
@pytest.mark.parametrize("classes", [1, 2, 5, 9])
def test_precision_recall_and_f1_are_scikit_learns(name, average, classes, target):
    t = target(classes)
    for p in (RNG.integers(0, classes, N), RNG.integers(0, 2, N), t, np.zeros(N, int)):
        labels = None if average else range(max(t.max(), p.max()) + 1)
        expected = getattr(theirs, f"{name}_score")(t, p, average=average, labels=labels)
        same(getattr(metrics, name)(t, p, average=average), expected)
    assert getattr(metrics, name)(t, p) == getattr(metrics, name)(t, p, average="macro")


@pytest.mark.parametrize("shape", [(N,), (N, 1), (N, 3), (1,)])
def test_the_root_mean_squared_error_is_scikit_learns(shape):
    t, p = RNG.normal(size=(2, *shape))
    same(metrics.root_mean_squared_error(t, p), theirs.root_mean_squared_error(t, p))


def test_every_metric_declares_its_direction():
    names = set(metrics.__all__) - {"Metric", "confusion_matrix", "direction", "is_greater_better", "what_it_takes"}
    smaller = {name for name in names if metrics.is_greater_better(getattr(metrics, name)) is False}
    assert smaller == {"log_loss", "mean_absolute_error", "root_mean_squared_error"}
    assert {name for name in names if metrics.is_greater_better(getattr(metrics, name)) is None} == set()


@pytest.mark.parametrize(
    ("metric", "greater"),
    [
        (theirs.f1_score, True),
        (theirs.log_loss, False),
        (theirs.max_error, False),
        (theirs.mean_poisson_deviance, False),
        (theirs.matthews_corrcoef, None),
        (partial(theirs.fbeta_score, beta=2), True),
        (partial(metrics.f1, average="micro"), True),
        (lambda t, p: 0.0, None),
    ],
)
def test_the_direction_of_scikit_learns_metrics_follows_from_their_names(metric, greater):
    assert metrics.is_greater_better(metric) is greater


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: metrics.roc_auc([0, 2], [0.1, 0.2]), "class number 2, but scores has 2 classes"),
        (lambda: metrics.roc_auc([0, 1], [0.1, np.nan]), "scores has NaN"),
        (lambda: metrics.average_precision([0, 3], np.ones((2, 3))), "class number 3, but scores has 3 classes"),
        (lambda: metrics.log_loss([0, 1], [0.1, 1.2]), "must lie between 0 and 1"),
        (lambda: metrics.log_loss([0, 1], [[0.5, 0.4], [1, 0]]), "each row must sum to 1"),
    ],
)
def test_invalid_scores_are_refused(call, said):
    with pytest.raises(DataError, match=said):
        call()


def test_an_unknown_average_is_refused():
    with pytest.raises(ArgumentError, match="average must be 'macro', 'micro', 'weighted' or None, got 'binary'"):
        metrics.f1([0], [0], average="binary")


X, Y = classification()
SKLEARNS = {
    "accuracy": theirs.accuracy_score,
    "f1": partial(theirs.f1_score, average="macro"),
    "mcc": theirs.matthews_corrcoef,
    "kappa": theirs.cohen_kappa_score,
    "rand": theirs.adjusted_rand_score,
    "auc": partial(theirs.roc_auc_score, multi_class="ovr"),
    "ap": theirs.average_precision_score,
    "loss": theirs.log_loss,
    "top": partial(theirs.top_k_accuracy_score, k=1),
}
OURS = {"f1": metrics.f1, "auc": metrics.roc_auc, "ap": metrics.average_precision, "log": metrics.log_loss}


def judged(trainer, X, y, names, p):
    """Evaluate, and compare with scikit-learn's results for labels and probabilities."""
    found = trainer.evaluate(X, y)
    labels = p.argmax(axis=1)
    p = p[:, 1] if p.shape[1] == 2 else p
    for name in names:
        expected = SKLEARNS[name](y, labels if name in ("accuracy", "f1", "mcc", "kappa", "rand") else p)
        assert found[f"their {name}"] == pytest.approx(expected, abs=1e-6), name
        if name in OURS:
            assert found[f"our {name}"] == pytest.approx(expected, abs=1e-6), name


def both(names):
    return {f"their {name}": SKLEARNS[name] for name in names} | {f"our {name}": f for name, f in OURS.items()}


@pytest.mark.parametrize("classes", [2, 3])
def test_any_function_of_scikit_learn_measures_a_classifier(classes):
    y = Y if classes == 3 else (Y > 0).astype(int)
    names = SKLEARNS if classes == 3 else SKLEARNS.keys() - {"top"}
    trainer = gn.Trainer(net(outputs=classes), metrics=both(names))
    history = trainer.fit(X, y, epochs=2, validation=0.3)
    assert all(f"val_their {name}" in history for name in names)
    judged(trainer, X, y, names, trainer.model.predict_proba(X))
    soft = trainer.evaluate(X, np.eye(classes)[y] * 0.9 + 0.1 / classes)
    assert soft["their f1"] == trainer.evaluate(X, y)["their f1"]


def test_any_function_of_scikit_learn_measures_binary_outputs():
    y = (Y > 0).astype(int)
    trainer = gn.Trainer(net(outputs=1), loss=BCEWithLogitsLoss(), metrics=both(SKLEARNS.keys() - {"top"}))
    trainer.fit(X, y, epochs=2)
    judged(trainer, X, y, SKLEARNS.keys() - {"top"}, trainer.model.predict_proba(X))


def test_every_output_of_a_row_counts():
    y = np.stack([Y > 0, Y > 1], axis=1)
    trainer = gn.Trainer(net(outputs=2), loss=BCEWithLogitsLoss(), metrics={"auc": metrics.roc_auc})
    p = 1 / (1 + np.exp(-trainer.model.outputs(X)))
    assert trainer.evaluate(X, y)["auc"] == pytest.approx(theirs.roc_auc_score(y.ravel(), p.ravel()))


def test_any_function_of_scikit_learn_measures_a_regression():
    x, y = regression()
    judges = {"max": theirs.max_error, "rmse": theirs.root_mean_squared_error, "ours": metrics.root_mean_squared_error}
    trainer = gn.Trainer(net(outputs=1), loss=gn.MSELoss(), metrics=judges)
    found, predicted = trainer.evaluate(x, y), trainer.predict(x)
    assert found["max"] == pytest.approx(theirs.max_error(y, predicted))
    assert found["rmse"] == pytest.approx(found["ours"]) == pytest.approx(np.sqrt(found["loss"]), rel=1e-5)


def test_probabilities_near_1_of_float32_logits_stay_distinct():
    model = gn.Sequential(gn.Linear(1, 2))
    model.parameters()["0.weight"][...] = [[0, 1]]
    trainer = gn.Trainer(model, metrics={"auc": theirs.roc_auc_score, "ours": metrics.roc_auc})
    assert trainer.evaluate([[20.0], [25.0], [30.0]], [0, 1, 1]) | {"loss": 0} == {"loss": 0, "auc": 1, "ours": 1}


def test_a_user_metric_gets_logits_or_what_it_declares():
    seen = {}

    def note(kind):
        def metric(target, prediction):
            seen[kind] = prediction.shape
            return 0.0

        if kind:
            metric.takes = kind
        return metric

    gn.Trainer(net(), metrics={str(kind): note(kind) for kind in (None, "labels", "probabilities")}).evaluate(X, Y)
    assert seen == {None: (60, 3), "labels": (60,), "probabilities": (60, 3)}
    with pytest.raises(ArgumentError, match="`takes` must be 'outputs', 'labels' or 'probabilities', got 'scores'"):
        gn.Trainer(net(), metrics={"m": note("scores")})


def test_a_function_of_scikit_learn_that_takes_neither_labels_nor_probabilities_is_refused():
    with pytest.raises(ArgumentError, match=r"sklearn\.metrics\.hinge_loss takes 'pred_decision', which is neither"):
        gn.Trainer(net(), metrics={"hinge": theirs.hinge_loss})


def test_early_stopping_follows_scikit_learns_metrics():
    callback = gn.EarlyStopping(1, monitor="val_auc")
    judges = {"auc": partial(theirs.roc_auc_score, multi_class="ovr")}
    history = gn.Trainer(net(), metrics=judges, callbacks=[callback]).fit(X, Y, epochs=9, validation=0.3)
    assert callback.best == max(history["val_auc"])


OF_SEVERAL_ANSWERS = {
    "coverage": theirs.coverage_error,
    "ranking": theirs.label_ranking_average_precision_score,
    "ranking loss": theirs.label_ranking_loss,
    "auc": theirs.roc_auc_score,
    "exact": theirs.accuracy_score,
    "f1": partial(theirs.f1_score, average="macro"),
    "hamming": theirs.hamming_loss,
}


def test_scikit_learns_metrics_get_the_answers_of_a_row_together():
    X, labels = classification(60)
    y = np.column_stack([labels == 0, labels > 0, labels == 2]).astype(int)
    trainer = gn.Trainer(net(3), loss="bce", metrics={**OF_SEVERAL_ANSWERS, "ours": metrics.accuracy})
    row = trainer.fit(X, y, epochs=2, validation=(X, y)).last
    predicted, likely = trainer.predict(X), trainer.model.predict_proba(X)
    found = trainer.evaluate(X, y)
    for name, metric in OF_SEVERAL_ANSWERS.items():
        is_score = metrics.what_it_takes(metric) == "probabilities"
        assert found[name] == pytest.approx(metric(y, likely if is_score else predicted))
        assert row[f"val_{name}"] == found[name]
    assert found["ours"] == (y == predicted).mean()


@pytest.mark.parametrize(
    ("metric", "error", "said"),
    [
        (partial(metrics.precision, average=None), ArgumentError, "returns .* for targets of shape .*average='macro'"),
        (theirs.confusion_matrix, ArgumentError, "returns array.* but must return one number"),
        (theirs.f1_score, ArgumentError, "ValueError for targets of shape .*: Target is multiclass"),
        (lambda t, p: None, ArgumentError, "returns None for"),
        (lambda t, p: 1 / 0, ArgumentError, "ZeroDivisionError for"),
        (lambda t, p: metrics.log_loss(t, p), DataError, "probabilities must lie between 0 and 1"),
    ],
    ids=range(6),
)
def test_a_metric_that_returns_no_number_is_named_and_the_trainer_stays_usable(metric, error, said):
    X, y = classification(60)
    trainer = gn.Trainer(net(), metrics={"odd": metric})
    with pytest.raises(error, match=f"validation: metric 'odd': {said}"):
        trainer.fit(X, y, epochs=2, validation=(X, y))
    with pytest.raises(error, match=f"^metric 'odd': {said}"):
        trainer.evaluate(X, y)
    trainer.metrics = {"accuracy": metrics.accuracy}
    history = trainer.fit(X, y, epochs=2, validation=(X, y))
    assert (len(history), trainer.optimizer.steps, history.stopped) == (2, 4, None)
