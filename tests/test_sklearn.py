"""The estimators for scikit-learn: its own checks, its own estimators as judges."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

import cotangent as ct
from cotangent.train import Callback

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn import datasets, neural_network
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from cotangent.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
IRIS = datasets.load_iris(return_X_y=True)
WINE = datasets.load_wine(return_X_y=True)
DIABETES = datasets.load_diabetes(return_X_y=True)


def _checks():
    for estimator in (MLPClassifier(), MLPRegressor()):
        for made, check in estimator_checks_generator(estimator):
            inner = getattr(check, "func", check)
            yield pytest.param(made, check, id=f"{type(made).__name__}-{inner.__name__}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), list(_checks()))
def test_scikit_learns_own_check(estimator, check):
    check(estimator)


# -- against scikit-learn's networks ------------------------------------------------------


def _with_weights_of(model, judge):
    """Put the weights of scikit-learn's network into ours."""
    linear = [layer for layer in model.model_ if hasattr(layer, "in_features")]
    for layer, w, b in zip(linear, judge.coefs_, judge.intercepts_, strict=True):
        layer.weight.assign(np.ascontiguousarray(w.T))
        layer.bias.assign(b)


def _start(ours, judges, x, y, **settings):
    """Both estimators at the same weights, after one vanishing step of scikit-learn's."""
    common = {"random_state": 0, "batch_size": len(x), "shuffle": False, "max_iter": 1}
    judge = judges(**(common | {"learning_rate_init": 1e-300} | settings)).fit(x, y)
    model = ours(**(common | {"learning_rate_init": 1e-300} | settings)).fit(x, y)
    _with_weights_of(model, judge)
    return model, judge


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("table", ["iris", "diabetes", "two classes"])
def test_the_outputs_for_equal_weights_are_scikit_learns(activation, table):
    regression = table == "diabetes"
    x, y = DIABETES if regression else IRIS
    y = (y > 0).astype(int) if table == "two classes" else y
    ours, judges = (
        (MLPRegressor, neural_network.MLPRegressor)
        if regression
        else (MLPClassifier, neural_network.MLPClassifier)
    )
    model, judge = _start(ours, judges, x, y, activation=activation)
    np.testing.assert_allclose(model.predict(x), judge.predict(x), rtol=1e-10)
    if not regression:
        np.testing.assert_allclose(model.predict_proba(x), judge.predict_proba(x), rtol=1e-9)
    for ours_, theirs in zip(model.coefs_, judge.coefs_, strict=True):
        np.testing.assert_array_equal(ours_, theirs)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("regression", [False, True])
def test_the_trajectory_is_scikit_learns(solver, regression):
    x, y = DIABETES if regression else IRIS
    y = (y - y.mean()) / y.std() if regression else y
    ours, judges = (
        (MLPRegressor, neural_network.MLPRegressor)
        if regression
        else (MLPClassifier, neural_network.MLPClassifier)
    )
    settings = {"solver": solver, "alpha": 0.5, "hidden_layer_sizes": (7, 5)}
    if solver == "adam":
        settings["epsilon"] = 1e-30  # scikit-learn adds it before the correction of the bias
    model, judge = _start(ours, judges, x, y, **settings)
    rate = {"learning_rate_init": 0.01, "warm_start": True, "max_iter": 30, "tol": 0.0}
    model.set_params(**rate)
    judge.set_params(**rate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, y)
        judge.fit(x, y)
    for ours_, theirs in zip(model.coefs_, judge.coefs_, strict=True):
        np.testing.assert_allclose(ours_, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("name", "least"), [("adam", 0.95), ("sgd", 0.9), ("lbfgs", 0.93)])
def test_every_solver_learns(name, least):
    x, y = IRIS
    x = StandardScaler().fit_transform(x)
    model = MLPClassifier((16,), solver=name, learning_rate_init=0.01, random_state=0)
    assert model.fit(x, y).score(x, y) > least
    assert len(model.loss_curve_) == model.n_iter_ >= 1
    assert model.loss_ == model.loss_curve_[-1]


def test_lbfgs_finds_the_minimum_that_scikit_learn_finds():
    """Without hidden layers the penalised loss is convex: there is one minimum."""
    x, y = IRIS
    x = StandardScaler().fit_transform(x)
    settings = {"hidden_layer_sizes": (), "alpha": 1.0, "solver": "lbfgs", "random_state": 0}
    settings |= {"max_iter": 2000, "tol": 1e-9}
    ours = MLPClassifier(**settings).fit(x, y)
    theirs = neural_network.MLPClassifier(**settings, max_fun=10**6).fit(x, y)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-8)
    # Both end where the loss stands still: the weights are known to the root of that.
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e-4)


def test_poisson_regression_predicts_rates():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (2000, 1))
    y = rng.poisson(np.exp(1.0 + 1.5 * x[:, 0]))
    settings = {"loss": "poisson", "hidden_layer_sizes": (), "solver": "lbfgs", "alpha": 0.0}
    ours = MLPRegressor(**settings, tol=1e-9, max_iter=500).fit(x, y)
    assert ours.out_activation_ == "exp"
    assert ours.predict(x).mean() == pytest.approx(y.mean(), rel=1e-4)  # the likelihood's equation
    assert ours.coefs_[0][0, 0] == pytest.approx(1.5, abs=0.1)


# -- weights ------------------------------------------------------------------------------


def test_class_weights_are_sample_weights():
    x, y = IRIS
    names = np.array(["a", "b", "c"])[y]
    weights = {"a": 1.0, "b": 2.0, "c": 0.5}
    settings = {"max_iter": 20, "random_state": 0, "hidden_layer_sizes": (8,)}
    by_class = MLPClassifier(**settings, class_weight=weights).fit(x, names)
    by_row = MLPClassifier(**settings).fit(x, names, [weights[name] for name in names])
    for a, b in zip(by_class.coefs_, by_row.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


def test_balanced_weights_favour_the_rare_class():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, (300, 1)), rng.normal(1, 1, (15, 1))])
    y = np.repeat([0, 1], [300, 15])
    settings = {"solver": "lbfgs", "random_state": 0, "hidden_layer_sizes": ()}
    plain = MLPClassifier(**settings).fit(x, y).predict(x)
    balanced = MLPClassifier(**settings, class_weight="balanced").fit(x, y).predict(x)
    assert plain.sum() < 15 < balanced.sum()


# -- what scikit-learn's users do with estimators -----------------------------------------


def test_an_integer_seed_gives_the_same_bits():
    x, y = WINE
    settings = {"dropout": 0.2, "batch_norm": True, "max_iter": 10, "random_state": 3}
    first = MLPClassifier(**settings).fit(x, y)
    ct.manual_seed(99)  # the default generator has no part in it
    before = ct.random.DEFAULT.draw.item()
    again = MLPClassifier(**settings).fit(x, y)
    assert ct.random.DEFAULT.draw.item() == before
    for a, b in zip(first.coefs_, again.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    other = MLPClassifier(**settings | {"random_state": 4}).fit(x, y)
    assert not np.array_equal(first.coefs_[0], other.coefs_[0])


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_pickle_goes_on_to_the_same_bits(solver):
    x, y = WINE
    x = StandardScaler().fit_transform(x)
    model = MLPClassifier((8,), solver=solver, random_state=0, max_iter=5).fit(x, y)
    copies = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
    model.partial_fit(x, y)
    for other in copies:
        other.partial_fit(x, y)
        for a, b in zip(model.coefs_, other.coefs_, strict=True):
            np.testing.assert_array_equal(a, b)


def test_partial_fits_learn_from_parts():
    x, y = IRIS
    x = StandardScaler().fit_transform(x)
    model = MLPClassifier((16,), learning_rate_init=0.02, random_state=0)
    model.partial_fit(x[:30], y[:30], classes=[0, 1, 2])  # the others come later
    order = np.random.default_rng(0).permutation(150)
    for _ in range(20):
        for part in np.split(order, 3):
            model.partial_fit(x[part], y[part])
    assert model.score(x, y) > 0.95
    assert model.n_iter_ == 61
    with pytest.raises(ValueError, match="classes"):
        model.partial_fit(x, y + 1)
    assert not hasattr(MLPClassifier(solver="lbfgs"), "partial_fit")


def test_a_warm_start_goes_on():
    x, y = IRIS
    model = MLPClassifier((8,), random_state=0, max_iter=5, warm_start=True).fit(x, y)
    first = model.loss_
    assert model.fit(x, y).loss_ < first
    assert model.n_iter_ == 10 and len(model.loss_curve_) == 10


def test_early_stopping_keeps_the_best_weights():
    x, y = datasets.load_breast_cancer(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    model = MLPClassifier(
        (32,), early_stopping=True, learning_rate_init=0.05, random_state=0, max_iter=300
    ).fit(x, y)
    assert model.n_iter_ < 300
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.best_loss_ is None and model.score(x, y) > 0.95


def test_an_adaptive_rate_is_cut():
    x, y = IRIS
    model = MLPClassifier(
        (8,), solver="sgd", learning_rate="adaptive", learning_rate_init=0.5, tol=1e-3,
        n_iter_no_change=2, random_state=0, max_iter=500,
    ).fit(x, y)  # fmt: skip
    assert model._optimizer.lr < 1e-5 and model.n_iter_ < 500


def test_several_outputs_and_labels():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    numbers = np.stack([x[:, 0] * 2, x[:, 1] - x[:, 2]], axis=1)
    model = MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", random_state=0).fit(x, numbers)
    np.testing.assert_allclose(model.predict(x), numbers, atol=1e-2)
    labels = (x[:, :2] > 0).astype(int)
    tagger = MLPClassifier((16,), solver="lbfgs", random_state=0).fit(x, labels)
    assert tagger.score(x, labels) > 0.95
    assert tagger.predict_proba(x).shape == (200, 2)


def test_sparse_rows_are_those_of_the_dense_matrix():
    sparse = pytest.importorskip("scipy.sparse")
    x, y = IRIS
    settings = {"max_iter": 5, "random_state": 0}
    dense = MLPClassifier(**settings).fit(x, y)
    other = MLPClassifier(**settings).fit(sparse.csr_matrix(x), y)
    np.testing.assert_array_equal(dense.predict_proba(x), other.predict_proba(sparse.csr_matrix(x)))


def test_a_search_over_a_pipeline():
    x, y = IRIS
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(random_state=0, max_iter=50))
    grid = {
        "mlpclassifier__hidden_layer_sizes": [(4,), (8,)],
        "mlpclassifier__learning_rate_init": [0.001, 0.02],
    }
    search = GridSearchCV(pipeline, grid, cv=3).fit(x, y)
    assert search.best_params_["mlpclassifier__learning_rate_init"] == 0.02
    assert search.best_score_ > 0.9
    assert clone(search.best_estimator_).get_params()["mlpclassifier__max_iter"] == 50


class Seen(Callback):
    """Counts epochs."""

    def __init__(self):
        self.epochs = 0

    def on_epoch(self, run, row):
        self.epochs += 1


def test_callbacks_hear_of_epochs():
    seen = Seen()
    MLPClassifier((4,), max_iter=7, random_state=0, callbacks=[seen]).fit(*IRIS)
    assert seen.epochs == 7


# -- mistakes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"activation": "rellu"}, "activation must be one of identity"),
        ({"solver": "newton"}, "solver"),
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": (2.5,)}, "hidden_layer_sizes"),
        ({"alpha": -1.0}, "alpha"),
        ({"learning_rate_init": 0.0}, "learning_rate_init"),
        ({"batch_size": 0}, "batch_size"),
        ({"max_iter": 0}, "max_iter"),
        ({"dropout": 1.0}, "dropout"),
        ({"solver": "lbfgs", "dropout": 0.5}, "lbfgs"),
        ({"validation_fraction": 0.0}, "validation_fraction"),
        ({"learning_rate": "fast"}, "learning_rate"),
    ],
)
def test_a_wrong_parameter_is_named(settings, match):
    with pytest.raises(ValueError, match=match):
        MLPClassifier(**settings).fit(*IRIS)


def test_a_loss_that_is_no_number_is_an_error():
    x, y = DIABETES
    model = MLPRegressor(solver="sgd", learning_rate_init=1e3, random_state=0)
    with pytest.raises(ct.ArgumentError, match="learning_rate_init"):
        model.fit(x * 1e6, y)


def test_max_iter_reached_is_said():
    with pytest.warns(ConvergenceWarning, match="max_iter=3"):
        MLPClassifier(max_iter=3, random_state=0).fit(*IRIS)


def test_without_scikit_learn_the_error_says_what_to_install():
    code = (
        "import importlib.util as util; found = util.find_spec\n"
        "util.find_spec = lambda name, *a: None if name == 'sklearn' else found(name, *a)\n"
        "try: import cotangent.sklearn\n"
        "except ImportError as error: print(error)"
    )
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert "pip install 'cotangent[sklearn]'" in text
