"""Metrics against scikit-learn, over ties, empty classes, weights and uneven batches."""

from __future__ import annotations

import math
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cotangent as ct
from cotangent import nn, train
from cotangent.train import metrics
from cotangent.train.metrics.rows import MOST_CLASSES

judge = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the judge")

Array = np.ndarray[Any, Any]

BY_LABEL = {
    "accuracy": judge.accuracy_score,
    "balanced_accuracy": judge.balanced_accuracy_score,
    "matthews": judge.matthews_corrcoef,
    "cohen_kappa": judge.cohen_kappa_score,
    **{
        f"{base}_{average}": (
            lambda t, p, sample_weight, f=f, average=average: f(
                t, p, average=average, sample_weight=sample_weight, zero_division=0.0
            )
        )
        for base, f in (
            ("precision", judge.precision_score), ("recall", judge.recall_score),
            ("f1", judge.f1_score),
        )
        for average in ("macro", "micro", "weighted")
    },
}  # fmt: skip

BY_NUMBER = {
    "r2": judge.r2_score,
    "explained_variance": judge.explained_variance_score,
    "mae": judge.mean_absolute_error,
    "mse": judge.mean_squared_error,
    "rmse": judge.root_mean_squared_error,
    "median_absolute_error": judge.median_absolute_error,
    "mape": judge.mean_absolute_percentage_error,
}


def _judged(function: Any, *args: Any, **settings: Any) -> Any:
    """What scikit-learn says, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **settings)


def _cuts(draw: Any, n: int) -> list[slice]:
    """The rows cut into batches, some of them empty."""
    at = sorted(draw(st.lists(st.integers(0, n), max_size=4)))
    return [slice(a, b) for a, b in zip([0, *at], [*at, n], strict=True)]


def _in_batches(name: str, batches: list[slice], *arrays: Any, **settings: Any) -> Any:
    """The value over batches, half-way through a state that is saved and loaded."""
    metric = metrics.get(name, **settings)
    for batch in batches:
        other = metrics.get(name, **settings)
        other.load_state_dict(metric.state_dict())
        metric = other
        metric.update(*(None if a is None else a[batch] for a in arrays))
    return metric.value()


def _close(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10, equal_nan=True)


@st.composite
def rows(draw: Any, least: int = 1) -> tuple[int, int, Any, list[slice]]:
    """(seed, number of rows, weights or None, cuts into batches)."""
    n = draw(st.integers(least, 30))
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    kind = draw(st.sampled_from(["none", "whole", "tenths", "any"]))
    weights = {
        "none": None,
        "whole": generator.integers(1, 4, n),
        "tenths": generator.integers(1, 4, n) / 10.0,
        "any": generator.uniform(0.1, 3.0, n),
    }[kind]
    return seed, n, weights, _cuts(draw, n)


# Classes by label.


@settings(deadline=None, max_examples=25)
@given(rows(), st.integers(1, 5), st.integers(1, 5))
def test_classes_by_label(sample: Any, predicted: int, actual: int) -> None:
    seed, n, weights, batches = sample
    generator = np.random.default_rng(seed)
    p, t = generator.integers(0, predicted, n), generator.integers(0, actual, n)
    for name, function in BY_LABEL.items():
        want = _judged(function, t, p, sample_weight=weights)
        _close(_in_batches(name, batches, p, t, weights), want)
    size = max(p.max(), t.max()) + 1
    want = _judged(judge.confusion_matrix, t, p, labels=np.arange(size), sample_weight=weights)
    _close(_in_batches("confusion_matrix", batches, p, t, weights), want)


@settings(deadline=None, max_examples=20)
@given(rows(), st.booleans())
def test_two_classes(sample: Any, one_class: bool) -> None:
    seed, n, weights, batches = sample
    generator = np.random.default_rng(seed)
    z = np.round(generator.normal(size=n), 1)
    t = generator.integers(0, 1 if one_class else 2, n)
    probability = 1.0 / (1.0 + np.exp(-z))
    label = (z > 0).astype(int)
    for name, function in (
        ("precision", judge.precision_score), ("recall", judge.recall_score),
        ("f1", judge.f1_score),
    ):  # fmt: skip
        want = _judged(function, t, label, sample_weight=weights, zero_division=0.0)
        two = np.stack([np.zeros(n), z], -1)
        for scores, targets in ((z, t), (z[:, None], t), (z, t[:, None]), (two, t), (label, t)):
            _close(_in_batches(name, batches, scores, targets, weights), want)
        _close(_in_batches(name, batches, probability, t, weights, from_logits=False), want)
    both = {"labels": [0, 1], "sample_weight": weights}
    logits = np.stack([np.ones(n), z + 1.0], -1)
    for name, want in (
        ("log_loss", _judged(judge.log_loss, t, probability, **both)),
        ("brier", _judged(judge.brier_score_loss, t, probability, sample_weight=weights,
                          pos_label=1)),
        ("roc_auc", _judged(judge.roc_auc_score, t, z, sample_weight=weights)),
        ("average_precision", _judged(judge.average_precision_score, t, z, sample_weight=weights)),
    ):  # fmt: skip
        _close(_in_batches(name, batches, z, t, weights), want)
        _close(_in_batches(name, batches, probability, t, weights, from_logits=False), want)
        if name != "roc_auc" and name != "average_precision":  # rounding may break their ties
            _close(_in_batches(name, batches, logits, t.astype(float), weights), want)


@settings(deadline=None, max_examples=20)
@given(rows(), st.integers(3, 6), st.booleans())
def test_scores_of_many_classes(sample: Any, classes: int, ties: bool) -> None:
    seed, n, weights, batches = sample
    generator = np.random.default_rng(seed)
    z = np.round(generator.normal(size=(n, classes)), 0 if ties else 8)
    t = generator.integers(0, classes - 1, n)
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    want = {
        "log_loss": _judged(
            judge.log_loss, t, p, labels=np.arange(classes), sample_weight=weights
        ),
        "brier": _judged(
            judge.brier_score_loss, t, p, labels=np.arange(classes), sample_weight=weights
        ),
        # scikit-learn lets the higher class win a tie, so it sees the classes in reverse.
        "top_2_accuracy": _judged(
            judge.top_k_accuracy_score, classes - 1 - t, z[:, ::-1], k=2,
            labels=np.arange(classes), sample_weight=weights,
        ),
        "accuracy": _judged(judge.accuracy_score, t, z.argmax(-1), sample_weight=weights),
    }  # fmt: skip
    occur = [c for c in range(classes) if 0 < (t == c).sum() < n]
    for name, function in (
        ("roc_auc", judge.roc_auc_score), ("average_precision", judge.average_precision_score),
    ):  # fmt: skip
        each = [_judged(function, t == c, p[:, c], sample_weight=weights) for c in occur]
        want[name] = np.mean(each) if each else math.nan
    for name, value in want.items():
        _close(_in_batches(name, batches, p, t, weights, from_logits=False), value)
        if not (ties and name in ("roc_auc", "average_precision")):
            _close(_in_batches(name, batches, z, t, weights), value)


def test_one_against_the_rest_is_scikit_learn_s() -> None:
    generator = np.random.default_rng(0)
    z = generator.normal(size=(60, 3))
    t = np.arange(60) % 3
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    want = judge.roc_auc_score(t, p, multi_class="ovr", average="macro")
    _close(metrics.roc_auc(z, t), want)


# Numbers.


@settings(deadline=None, max_examples=25)
@given(rows(), st.integers(0, 3), st.sampled_from([0.0, 1.0, 1e6]), st.booleans())
def test_numbers(sample: Any, outputs: int, offset: float, constant: bool) -> None:
    seed, n, weights, batches = sample
    generator = np.random.default_rng(seed)
    shape = (n, outputs) if outputs else (n,)
    t = offset + np.round(generator.normal(size=shape) * (0.0 if constant else 1.0), 2)
    p = np.round(t + generator.normal(size=shape), 2)
    if min(np.ptp(t, axis=0).min(), np.ptp(p - t, axis=0).min()) < 1e-9 * (1.0 + offset):
        weights = None  # the rounding of scikit-learn's weighted mean looks like a spread to it
    for name, function in BY_NUMBER.items():
        want = _judged(function, t, p, sample_weight=weights)
        # The spread of numbers about 1e6 is known to that share of their precision.
        np.testing.assert_allclose(
            _in_batches(name, batches, p, t, weights), want,
            rtol=1e-7 if offset > 1.0 else 1e-10, atol=1e-10, equal_nan=True,
        )  # fmt: skip
    _close(_in_batches("max_error", batches, p, t, weights), np.abs(p - t).max())
    if not outputs:
        _close(_in_batches("max_error", batches, p, t), judge.max_error(t, p))
        _close(_in_batches("r2", batches, p[:, None], t, weights), metrics.r2(p, t, weights))
        _close(_in_batches("r2", batches, p, t[:, None], weights), metrics.r2(p, t, weights))


def test_a_perfect_prediction_of_a_constant() -> None:
    weights = [0.1, 0.7, 0.3]
    assert metrics.r2([0.2, 0.3, 0.3], [0.3, 0.3, 0.3], weights) == 0.0
    for name in ("r2", "explained_variance"):
        assert metrics.get(name).of([2.0, 2.0], [2.0, 2.0]) == 1.0
    assert metrics.r2([3.0, 3.0], [2.0, 2.0]) == judge.r2_score([2.0, 2.0], [3.0, 3.0]) == 0.0


# What weights mean, for every metric.


def _example(name: str, n: int = 40) -> tuple[Array, Array]:
    generator = np.random.default_rng(3)
    metric = metrics.get(name)
    if isinstance(metric, metrics.numbers.NumberMetric):
        return generator.normal(size=(n, 2)), generator.normal(size=(n, 2))
    classes = 2 if name in ("precision", "recall", "f1") else 12
    return generator.normal(size=(n, classes)), generator.integers(0, classes, n)


@pytest.mark.parametrize("name", metrics.NAMES)
def test_a_weight_is_a_number_of_repetitions(name: str) -> None:
    p, t = _example(name)
    times = np.random.default_rng(1).integers(0, 3, len(t))
    metric = metrics.get(name)
    _close(metric.of(p, t, times), metric.of(np.repeat(p, times, 0), np.repeat(t, times, 0)))
    _close(metric.of(p, t, np.ones(len(t))), metric.of(p, t))
    assert metric.of(p, t) is not None
    metric.update(p[:0], t[:0])
    _close(metric.value(), metrics.get(name).of(p, t))


@pytest.mark.parametrize("name", metrics.NAMES)
def test_the_function_of_that_name_is_the_metric(name: str) -> None:
    p, t = _example(name)
    if hasattr(metrics, name):
        _close(getattr(metrics, name)(p, t), metrics.get(name).of(p, t))
    tensors = metrics.get(name).of(ct.tensor(p, dtype=ct.float64), ct.tensor(t, dtype=t.dtype))
    _close(tensors, metrics.get(name).of(p, t))


@pytest.mark.parametrize("name", metrics.NAMES)
def test_without_rows_and_with_nan(name: str) -> None:
    p, t = _example(name)
    metric = metrics.get(name)
    assert np.isnan(metric.value()).all()
    assert np.isnan(metric.of(p[:0], t[:0])).all() or name == "confusion_matrix"
    assert np.isnan(metric.of(p, t, np.zeros(len(t)))).all() or name == "confusion_matrix"
    bad = p.copy()
    bad[3, 0] = math.nan
    value = metric.of(bad, t)
    assert np.isnan(value).all()
    other = metrics.get(name)
    other.load_state_dict(metric.state_dict())
    assert np.isnan(other.value()).all()
    metric.reset()
    _close(metric.of(p, t), metrics.get(name).of(p, t))
    assert metric.higher_is_better in (True, False, None)
    assert metric.name in repr(metric)


def test_yes_or_no_many_times() -> None:
    generator = np.random.default_rng(0)
    z, t = generator.normal(size=(20, 4)), generator.integers(0, 2, (20, 4))
    for name in ("accuracy", "f1", "roc_auc", "log_loss", "average_precision"):
        flat = metrics.get(name).of(z.reshape(-1), t.reshape(-1))
        _close(metrics.get(name, multilabel=True).of(z, t), flat)
    weights = generator.uniform(size=20)
    _close(
        metrics.get("f1", multilabel=True).of(z, t, weights),
        metrics.f1(z.reshape(-1), t.reshape(-1), np.repeat(weights, 4)),
    )


def test_sequences_of_classes() -> None:
    z, t = np.random.default_rng(0).normal(size=(4, 5, 3)), np.arange(20).reshape(4, 5) % 3
    _close(metrics.log_loss(z, t), metrics.log_loss(z.reshape(20, 3), t.reshape(20)))


def test_narrow_floats() -> None:
    p = ct.tensor([0.25, 0.5, 1.0], dtype=ct.bfloat16)
    assert metrics.mae(p, [0.0, 0.0, 0.0]) == 1.75 / 3
    rows_ = ct.tensor([[0.0, 1.0]], dtype=ct.bfloat16)
    clipped = metrics.log_loss(rows_, [0], from_logits=False)
    assert clipped == -math.log(2.0**-7)


def test_log_loss_of_large_logits_is_exact() -> None:
    assert metrics.log_loss([[1000.0, 0.0]], [1]) == 1000.0
    assert metrics.log_loss([1000.0, -1000.0], [0, 1]) == 1000.0


MISTAKES = [
    ("accuracy", ([0.1, 0.2], [0, 1, 1]), {}, ct.ShapeError, r"do not fit targets of shape \(3,\)"),
    ("accuracy", (np.ones((2, 3)), np.ones((2, 3))), {}, ct.ShapeError, "multilabel=True.*argmax"),
    ("accuracy", (np.ones((2, 3)), [0, 3]), {}, ct.BoundsError, r"class 3 .* outside \[0, 3\)"),
    ("accuracy", (np.ones((2, 3)), [0, -1]), {}, ct.BoundsError, "class -1"),
    ("accuracy", ([0.1, 0.2], [0.0, 0.5]), {}, ct.ArgumentError, "must be classes .* hold 0.5"),
    ("accuracy", ([0.1, 0.2], [0.0, math.nan]), {}, ct.ArgumentError, "hold nan"),
    ("accuracy", ([1, 2, 3], [1, 2]), {}, ct.ShapeError, r"labels of shape \(3,\)"),
    ("accuracy", (["a"], ["b"]), {}, ct.DTypeError, "must be numbers"),
    ("accuracy", ([[1.0], [2.0, 3.0]], [0, 1]), {}, ct.ShapeError, "ragged"),
    ("accuracy", (1.0, 1), {}, ct.ShapeError, "do not fit"),
    ("accuracy", ([MOST_CLASSES], [0]), {}, ct.BoundsError, "outside"),
    ("f1", (np.eye(3), [0, 1, 2]), {}, ct.ArgumentError, "of 3 classes none is the positive one"),
    ("f1", ([0, 2], [0, 1]), {}, ct.ArgumentError, "choose f1_macro"),
    ("roc_auc", ([0, 1], [0, 1]), {}, ct.DTypeError, "needs the scores of the model"),
    ("log_loss", ([1.5], [1]), {"from_logits": False}, ct.ArgumentError, "no probabilities"),
    ("log_loss", ([[0.5, 0.1]], [1]), {"from_logits": False}, ct.ArgumentError, "sum to 0.6"),
    ("top_k_accuracy", (np.ones((2, 3)), [0, 1]), {}, ct.ArgumentError, "choose a k below 3"),
    ("confusion_matrix", ([6000], [0]), {}, ct.ArgumentError, "too large"),
    ("mse", ([1.0, 2.0], [1.0]), {}, ct.ShapeError, r"\(2,\) and targets of shape \(1,\)"),
    ("mse", (1.0, 1.0), {}, ct.ShapeError, "a row for each sample"),
    ("mse", ([1.0], [math.inf]), {}, ct.ArgumentError, "row 0 .* holds inf"),
    ("mse", ([1.0], [1.0], [-1.0]), {}, ct.ArgumentError, "0 or more"),
    ("mse", ([1.0], [1.0], [math.nan]), {}, ct.ArgumentError, "finite"),
    ("mse", ([1.0], [1.0], [1.0, 2.0]), {}, ct.ShapeError, r"weights of shape \(2,\)"),
]


@pytest.mark.parametrize(("name", "args", "settings", "kind", "text"), MISTAKES)
def test_mistakes_are_explained(
    name: str, args: Any, settings: Any, kind: type[Exception], text: str
) -> None:
    metric = metrics.get(name, **settings)
    with pytest.raises(kind, match=text) as caught:
        metric.update(*args)
    assert str(caught.value).startswith(metric.name)


def test_batches_that_do_not_belong_together() -> None:
    for name, first, second in (
        ("mse", ([1.0], [1.0]), ([[1.0, 2.0]], [[1.0, 2.0]])),
        ("r2", ([1.0], [1.0]), ([[1.0, 2.0]], [[1.0, 2.0]])),
        ("max_error", ([1.0], [1.0]), ([[1.0, 2.0]], [[1.0, 2.0]])),
        ("median_absolute_error", ([1.0], [1.0]), ([[1.0, 2.0]], [[1.0, 2.0]])),
        ("roc_auc", (np.eye(3), [0, 1, 2]), (np.eye(4), [0, 1, 2, 3])),
    ):
        metric = metrics.get(name)
        metric.update(*first)
        with pytest.raises(ct.Error, match=name):
            metric.update(*second)
    with pytest.raises(ct.UnknownKeyError, match="not of this metric"):
        metrics.get("mse").load_state_dict(metrics.get("accuracy").state_dict())


def test_names() -> None:
    assert metrics.get("ROC AUC").name == "roc_auc"
    assert metrics.get("Top-5-accuracy").name == "top_5_accuracy"
    metric = metrics.get("f1", average="weighted")
    assert metrics.get(metric) is metric
    with pytest.raises(ct.UnknownKeyError, match="did you mean 'accuracy'"):
        metrics.get("acuracy")
    with pytest.raises(ct.UnknownKeyError, match="there are accuracy, "):
        metrics.get("zzz")
    with pytest.raises(ct.ArgumentTypeError, match="a name or a Metric"):
        metrics.get(3)  # type: ignore[arg-type]
    with pytest.raises(ct.ArgumentTypeError, match=r"r2: .*from_logits"):
        metrics.get("r2", from_logits=False)
    with pytest.raises(ct.ArgumentError, match="average must be one of"):
        metrics.get("f1", average="none")


@pytest.mark.parametrize("name", metrics.NAMES)
def test_a_new_one_has_the_settings_and_no_rows(name: str) -> None:
    p, t = _example(name)
    metric = metrics.get(name)
    want = metric.of(p, t)
    other = metric.new()
    assert np.isnan(other.value()).all()
    other.update(p[:7], t[:7])
    _close(metric.value(), want)  # what one is given the other does not see
    assert other.name == metric.name
    _close(other.of(p, t), want)


def _in_a_run(model: Any, x: Any, y: Any, **more: Any) -> Any:
    trainer = train.Trainer(model, compile=False, **more)
    trainer.fit((x, y), epochs=2, check=False, validation=(x, y), progress=False)
    return trainer.evaluate((x, y)), trainer.predict(x)


def test_metrics_of_a_run_read_the_predictions_as_they_are() -> None:
    ct.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    many = (x[:, :2] > 0.3).astype(np.int64)
    found, z = _in_a_run(nn.Linear(3, 2), x, many, loss="bce", metrics=["accuracy", "f1"])
    assert found["accuracy"] == np.mean((z > 0) == many)
    _close(found["f1"], judge.f1_score(many.reshape(-1), (z > 0).reshape(-1)))
    one = many[:, :1].astype(np.float32)
    squashed = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())
    found, p = _in_a_run(
        squashed, x, one, loss=nn.binary_cross_entropy, metrics=["accuracy", "log_loss", "mae"]
    )
    assert found["accuracy"] == np.mean((p > 0.5) == one) != np.mean(one)
    np.testing.assert_allclose(found["log_loss"], found["loss"], rtol=1e-5)
    np.testing.assert_allclose(found["mae"], np.abs(p - one).mean(), rtol=1e-5)


def test_measuring_in_the_middle_of_an_epoch_disturbs_nothing() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    y = x.argmax(-1)

    def accuracies(measure: bool) -> list[float]:
        ct.manual_seed(0)
        trainer = train.Trainer(nn.Linear(3, 3), metrics="accuracy", compile=False)

        class Measure(train.Callback):
            every = 1

            def on_step(self, run: Any) -> None:
                if measure:
                    trainer.evaluate((x, y))

        history = trainer.fit((x, y), epochs=2, callbacks=[Measure()], progress=False)
        return history.series("accuracy")

    assert accuracies(True) == accuracies(False)


def test_the_code_in_the_documentation_runs() -> None:
    page = Path(__file__).parent.parent / "docs" / "metrics.md"
    blocks = page.read_text("utf-8").split("```python\n")[1:]
    assert len(blocks) == 3
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block.partition("```")[0], str(page), "exec"), names)
    shutil.rmtree(names["folder"])


def test_the_documentation_names_every_metric() -> None:
    text = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text("utf-8")
    missing = [name for name in metrics.__all__ if name in metrics.NAMES and name not in text]
    assert not missing
