"""Estimators for scikit-learn: `MLPClassifier` and `MLPRegressor`.

They take the parameters of scikit-learn's own, and dropout, batch normalisation, class weights and
callbacks besides; they work in pipelines and searches, and can be cloned and pickled. Training is
compiled; in the worker processes of ``n_jobs`` it keeps to the threads that joblib allows.

>>> import numpy as np
>>> from cotangent.sklearn import MLPClassifier
>>> x = np.random.default_rng(0).normal(size=(200, 2))
>>> y = np.where(x[:, 0] * x[:, 1] > 0, "same", "other")
>>> model = MLPClassifier((16,), learning_rate_init=0.02, random_state=0).fit(x, y)
>>> bool(model.score(x, y) > 0.95)
True
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np

from . import ops, optim
from .errors import ArgumentError, MissingPackageError
from .functional import softmax
from .gradients import no_grad
from .perceptrons import (
    ACTIVATIONS,
    Course,
    build,
    class_loss,
    half_squared_error,
    label_loss,
    poisson_loss,
    seeded,
    train_as_a_whole,
    train_by_batches,
)
from .tensors import Tensor
from .train.evaluation import mode

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import r2_score
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_random_state, compute_sample_weight
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import (
        _check_partial_fit_first_call,
        check_classification_targets,
        type_of_target,
        unique_labels,
    )
    from sklearn.utils.validation import (
        _check_sample_weight,
        check_is_fitted,
        column_or_1d,
        validate_data,
    )
except ImportError as error:
    raise MissingPackageError(
        "cotangent.sklearn needs scikit-learn 1.6 or later: pip install 'cotangent[sklearn]'"
    ) from error

Array = np.ndarray[Any, Any]


class _MLP(BaseEstimator, ABC):  # type: ignore[misc]
    """What both estimators share."""

    # -- what the estimators differ in ----------------------------------------------------

    @abstractmethod
    def _encode(self, y: Array, again: bool) -> Array:
        """The targets as the loss takes them; learns the classes unless `again`."""

    @abstractmethod
    def _loss(self) -> Any:
        """The loss, a value a row."""

    @abstractmethod
    def _outputs(self, targets: Array) -> int:
        """How many outputs the network has."""

    @abstractmethod
    def _stratum(self, targets: Array) -> Array | None:
        """By what to split the rows evenly."""

    # -- fitting --------------------------------------------------------------------------

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on rows `X` with targets `y`.

        Args:
            X: ``[rows, features]``, dense or sparse (made dense); float64 is trained in float64,
                all else but float32 too.
            y: see the class.
            sample_weight: what each row counts for in the loss, not negative; 1 by default.
        """
        return self._fit(X, y, sample_weight, incremental=False)

    def _iterates(self) -> bool:
        if self.solver not in ("adam", "sgd"):
            raise AttributeError(
                f"partial_fit is only available for solvers adam and sgd, not {self.solver!r}"
            )
        return True

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool) -> Self:
        self._check_settings()
        again = hasattr(self, "model_") and (incremental or self.warm_start)
        numeric = isinstance(self, RegressorMixin)
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, y_numeric=numeric,
            dtype=(np.float64, np.float32), reset=not again,
        )  # fmt: skip
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        weight = self._weights(sample_weight, X, y)
        X = _dense(X)
        targets = self._encode(y, again)
        rng = check_random_state(self.random_state)
        with seeded(int(rng.randint(2**31 - 1)) + getattr(self, "n_iter_", 0) * incremental):
            if not again:
                self._begin(X, targets)
            self._train(X, targets, weight, rng, incremental)
        return self

    def _weights(self, sample_weight: Any, X: Any, y: Array) -> Array | None:
        """The weights of the rows, or None if all count 1."""
        by_class = getattr(self, "class_weight", None)
        if sample_weight is None and by_class is None:
            return None
        weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        if by_class is not None:
            weight = weight * compute_sample_weight(by_class, y)
        if not weight.any():
            raise ValueError("all sample weights are 0: there is nothing to fit")
        return weight.astype(X.dtype)

    def _begin(self, X: Array, targets: Array) -> None:
        """A new network and optimizer."""
        hidden = np.atleast_1d(np.asarray(self.hidden_layer_sizes, np.int64)).tolist()
        self.n_outputs_ = self._outputs(targets)
        self.n_layers_ = len(hidden) + 2
        sizes = [X.shape[1], *hidden, self.n_outputs_]
        self.model_ = build(sizes, self.activation, self.dropout, self.batch_norm, X.dtype)
        self._optimizer: Any = None
        self._moments: dict[str, Array] = {}  # the state of the optimizer of a pickle
        self.n_iter_ = self.t_ = 0
        self.loss_curve_: list[float] = []

    def _train(
        self, X: Array, targets: Array, weight: Array | None, rng: Any, incremental: bool
    ) -> None:
        if weight is not None and not weight.all():  # rows of no weight do not count in batches
            kept = weight > 0
            X, targets, weight = X[kept], targets[kept], weight[kept]
        held = self.early_stopping and not incremental and self.solver != "lbfgs"
        score = None
        if held:
            parts = [X, targets, np.ones(len(X), X.dtype) if weight is None else weight]
            split = train_test_split(
                *parts, test_size=self.validation_fraction, random_state=rng,
                stratify=self._stratum(targets),
            )  # fmt: skip
            X, X_held, targets, targets_held, some, weight_held = split
            weight = None if weight is None else some
            score = lambda: self._score(X_held, targets_held, weight_held)  # noqa: E731
        course = Course(
            self.tol, self.n_iter_no_change, self.learning_rate == "adaptive", score
        )
        total = float(len(X) if weight is None else weight.sum())
        data = (X, targets, weight)
        if self.solver == "lbfgs":
            train_as_a_whole(
                self.model_, self._loss(), data, penalty=self.alpha / total, course=course,
                iterations=self.max_iter,
            )  # fmt: skip
        else:
            self._by_batches(data, total, course, rng, 1 if incremental else self.max_iter)
        self._conclude(course, len(X), incremental)

    def _by_batches(
        self, data: tuple[Array, Array, Array | None], total: float, course: Course, rng: Any,
        epochs: int,
    ) -> None:  # fmt: skip
        rows = len(data[0])
        size = min(200, rows) if self.batch_size == "auto" else min(int(self.batch_size), rows)
        decay = self.alpha * rows / (total * size)
        if self._optimizer is None:
            self._optimizer = self._make_optimizer(decay)
            self._optimizer.group(lambda p: p.ndim < 2, weight_decay=0.0)
            if self._moments:
                self._optimizer.load_state_dict(self.model_, self._moments)
                self._moments = {}
        self._optimizer.weight_decay = decay
        schedule = None
        if self.solver == "sgd" and self.learning_rate == "invscaling":
            rate, power = self.learning_rate_init, self.power_t
            schedule = lambda step: rate / (step * size + 1) ** power  # noqa: E731
        train_by_batches(
            self.model_, self._loss(), self._optimizer, data, schedule=schedule, course=course,
            callbacks=tuple(self.callbacks or ()), epochs=epochs, batch_size=size,
            shuffle=self.shuffle, seed=int(rng.randint(2**31 - 1)) + self.n_iter_,
            verbose=bool(self.verbose),
        )  # fmt: skip

    def _make_optimizer(self, decay: float) -> Any:
        if self.solver == "adam":
            betas = (self.beta_1, self.beta_2)
            return optim.Adam(self.learning_rate_init, betas, self.epsilon, weight_decay=decay)
        nesterov = bool(self.nesterovs_momentum and self.momentum > 0)
        return optim.SGD(
            self.learning_rate_init, self.momentum, nesterov=nesterov, weight_decay=decay
        )

    def _conclude(self, course: Course, rows: int, incremental: bool) -> None:
        """The fitted attributes."""
        epochs = len(course.losses)
        self.n_iter_ += epochs
        self.t_ += epochs * rows
        self.loss_curve_ = [*self.loss_curve_, *course.losses]
        self.loss_ = self.loss_curve_[-1]
        self.validation_scores_ = course.scores or None
        self.best_validation_score_ = course.best if course.scores else None
        self.best_loss_ = None if course.scores else min(self.loss_curve_)
        self.out_activation_ = self._out_activation()
        if not incremental and not course.converged and epochs == self.max_iter:
            warnings.warn(
                f"training stopped after max_iter={self.max_iter} epochs, and the loss still fell "
                "by more than tol; raise max_iter",
                ConvergenceWarning, stacklevel=4,
            )  # fmt: skip

    def _check_settings(self) -> None:
        """Raise an error that names the parameter."""
        for name, known in (
            ("activation", tuple(ACTIVATIONS)), ("solver", ("adam", "sgd", "lbfgs")),
            ("learning_rate", ("constant", "invscaling", "adaptive")),
        ):  # fmt: skip
            if getattr(self, name) not in known:
                self._wrong(name, f"one of {', '.join(known)}")
        hidden = np.atleast_1d(np.asarray(self.hidden_layer_sizes))
        if hidden.ndim != 1 or hidden.size and (hidden.dtype.kind not in "iu" or hidden.min() < 1):
            self._wrong("hidden_layer_sizes", "positive integers")
        for name in ("max_iter", "n_iter_no_change"):
            if not getattr(self, name) >= 1:
                self._wrong(name, "at least 1")
        for name in ("alpha", "tol"):
            if not getattr(self, name) >= 0:
                self._wrong(name, "not negative")
        if not self.learning_rate_init > 0:
            self._wrong("learning_rate_init", "positive")
        for name, value in (
            ("validation_fraction", self.validation_fraction), ("1 - dropout", 1 - self.dropout)
        ):  # fmt: skip
            if not 0 < value <= 1:
                self._wrong(name, "above 0 and at most 1")
        if self.batch_size != "auto" and not int(self.batch_size) >= 1:
            self._wrong("batch_size", '"auto" or a positive integer')
        if self.solver == "lbfgs" and self.dropout:
            raise ArgumentError("solver lbfgs needs a loss without noise; set dropout=0")

    def _wrong(self, name: str, rule: str) -> None:
        value = getattr(self, name, None)
        raise ArgumentError(f"{type(self).__name__}: {name} must be {rule}, not {value!r}")

    # -- predicting -----------------------------------------------------------------------

    def _raw(self, X: Any) -> Array:
        """The outputs of the network, ``[rows, outputs]``."""
        check_is_fitted(self)
        X = validate_data(
            self, X, accept_sparse=["csr", "csc"], dtype=(np.float64, np.float32), reset=False
        )
        return self._forward(_dense(X))

    def _forward(self, X: Array) -> Array:
        dtype = self.model_.parameters()[0].dtype
        with mode(self.model_, False), no_grad():
            return self.model_(Tensor(np.asarray(X, dtype))).numpy()

    @property
    def coefs_(self) -> list[Array]:
        """The weights of the linear layers, ``[inputs, outputs]`` each."""
        check_is_fitted(self)
        return [p.numpy().T for p in self.model_.parameters() if p.ndim > 1]

    @property
    def intercepts_(self) -> list[Array]:
        """The biases of the linear layers."""
        check_is_fitted(self)
        return [layer.bias.numpy() for layer in self.model_ if hasattr(layer, "in_features")]

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if state.get("_optimizer") is not None:
            # An optimizer knows its state by variable; a file can name it only by parameter.
            state["_moments"] = state["_optimizer"].state_dict(self.model_)
            state["_optimizer"] = None
        return state

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _dense(X: Any) -> Array:
    dense: Array = X.toarray() if hasattr(X, "toarray") else X
    return dense


class MLPClassifier(ClassifierMixin, _MLP):  # type: ignore[misc]
    """A network that tells classes apart.

    The parameters are those of scikit-learn's ``MLPClassifier``, with its defaults, and four more.
    In ``fit(X, y)``, `y` is one class a row, of any type, or an
    indicator matrix ``[rows, labels]`` of 0 and 1.

    Args:
        hidden_layer_sizes: the widths of the hidden layers, none to many.
        activation: "identity", "logistic", "tanh" or "relu".
        solver: "adam", "sgd", or "lbfgs" (all rows at once, for small data).
        alpha: the L2 penalty, ``alpha / 2 * sum(w**2) / rows``, of weights but not of biases; with
            adam and sgd its gradient is added to the loss's.
        batch_size: rows in a batch; "auto" is 200, or all rows if they are fewer.
        learning_rate: for sgd, "constant", "invscaling" (``learning_rate_init / t**power_t`` after
            t rows) or "adaptive" (divided by 5 when the loss no longer falls).
        learning_rate_init, power_t: see there.
        max_iter: epochs, or iterations of lbfgs.
        shuffle: whether to train in another order in each epoch.
        random_state: an integer, a ``RandomState`` or None, as scikit-learn has it.
        tol, n_iter_no_change: training ends after more than `n_iter_no_change` epochs in a row in
            which the loss (or the score of held-out rows) did not get better by `tol`.
        verbose: whether to show progress.
        warm_start: whether another `fit` goes on from the last weights.
        momentum, nesterovs_momentum: of sgd.
        early_stopping: hold out `validation_fraction` of the rows, watch their score, and keep the
            weights that were best for it.
        validation_fraction: see there.
        beta_1, beta_2, epsilon: of adam.
        max_fun: accepted so that settings can be shared; lbfgs is bounded by `max_iter`.
        dropout: the share of hidden values that are dropped in training, in [0, 1).
        batch_norm: whether hidden layers are normalised over the batch.
        class_weight: None, "balanced", or a dict from classes to weights.
        callbacks: `cotangent.train.Callback` objects.

    Attributes:
        classes_: the classes, sorted.
        model_: the network, a `cotangent.nn.Sequential`; it returns logits.
        loss_, loss_curve_, best_loss_: the mean loss of the last epoch, of all, of the best.
        validation_scores_, best_validation_score_: with early stopping; else None.
        n_iter_, t_: epochs so far, and rows seen.
        coefs_, intercepts_: weights ``[inputs, outputs]`` and biases of the layers.
        n_features_in_, feature_names_in_, n_layers_, n_outputs_, out_activation_: of the network.

    Raises:
        ArgumentError: a ValueError, for a parameter out of range, or a loss that is not finite.
    """

    def __init__(
        self, hidden_layer_sizes: Any = (100,), activation: str = "relu", *, solver: str = "adam",
        alpha: float = 0.0001, batch_size: Any = "auto", learning_rate: str = "constant",
        learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200,
        shuffle: bool = True, random_state: Any = None, tol: float = 1e-4, verbose: bool = False,
        warm_start: bool = False, momentum: float = 0.9, nesterovs_momentum: bool = True,
        early_stopping: bool = False, validation_fraction: float = 0.1, beta_1: float = 0.9,
        beta_2: float = 0.999, epsilon: float = 1e-8, n_iter_no_change: int = 10,
        max_fun: int = 15000, dropout: float = 0.0, batch_norm: bool = False,
        class_weight: Any = None, callbacks: Any = None,
    ) -> None:  # fmt: skip
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.class_weight = class_weight
        self.callbacks = callbacks

    @available_if(_MLP._iterates)
    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> MLPClassifier:
        """One epoch over some rows, going on from the last call.

        Args:
            X, y, sample_weight: as in `fit`.
            classes: all classes there are; needed in the first call.
        """
        if _check_partial_fit_first_call(self, classes):
            kind = type_of_target(y)
            if not kind.startswith("multilabel"):
                self.classes_ = unique_labels(classes)
        return self._fit(X, y, sample_weight, incremental=True)

    def _encode(self, y: Array, again: bool) -> Array:
        check_classification_targets(y)
        self._labels = type_of_target(y).startswith("multilabel")
        found = unique_labels(y)
        known = again or hasattr(self, "classes_") and not hasattr(self, "model_")
        if not known or not hasattr(self, "classes_"):
            self.classes_ = found
        elif np.setdiff1d(found, self.classes_).size:
            raise ValueError(
                f"`y` has classes not in `self.classes_`: {np.setdiff1d(found, self.classes_)} are "
                f"not among {self.classes_}"
            )
        if self._labels:
            return np.asarray(y, np.float32)
        codes = np.searchsorted(self.classes_, y)
        return codes if len(self.classes_) > 2 else codes.astype(np.float32)[:, None]

    def _loss(self) -> Any:
        return class_loss if self._multiclass() else label_loss

    def _multiclass(self) -> bool:
        return not self._labels and len(self.classes_) > 2

    def _outputs(self, targets: Array) -> int:
        return len(self.classes_) if self._multiclass() else targets.shape[1]

    def _out_activation(self) -> str:
        return "softmax" if self._multiclass() else "logistic"

    def _stratum(self, targets: Array) -> Array | None:
        return None if self._labels else targets

    def _score(self, X: Array, targets: Array, weight: Array) -> float:
        """The accuracy, of rows whose labels are all right."""
        logits = self._forward(X)
        right = logits.argmax(1) == targets if self._multiclass() else (
            (logits > 0) == (targets > 0)
        ).all(axis=1)  # fmt: skip
        return float(np.average(right, weights=weight))

    def predict(self, X: Any) -> Array:
        """The likeliest class of each row; with an indicator matrix, the labels as 0 and 1."""
        logits = self._raw(X)
        if self._labels:
            return (logits > 0).astype(np.int64)
        index = logits.argmax(1) if self._multiclass() else (logits[:, 0] > 0).astype(np.int64)
        found: Array = self.classes_[index]
        return found

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, ``[rows, classes]``, or of each label."""
        logits = self._raw(X)
        if self._multiclass():
            return softmax(Tensor(logits), axis=1).numpy()
        yes = ops.sigmoid(Tensor(logits)).numpy()
        if self._labels:
            return yes
        both = np.concatenate([1 - yes, yes], axis=1)
        return both[:, : len(self.classes_)]

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithm of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, _MLP):  # type: ignore[misc]
    """A network that predicts numbers.

    The parameters are those of scikit-learn's ``MLPRegressor``, with its defaults, and three more;
    see `MLPClassifier`, whose `class_weight` is missing here. In ``fit(X, y)``, `y` is ``[rows]``
    or ``[rows, outputs]``.

    Args:
        loss: "squared_error" (half of it), or "poisson" for counts: the network then gives the
            logarithm of what is predicted.

    Attributes:
        model_: the network, a `cotangent.nn.Sequential`.

    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 100).reshape(-1, 1)
    >>> model = MLPRegressor(hidden_layer_sizes=(32,), solver="lbfgs", random_state=0)
    >>> bool(model.fit(x, x[:, 0] ** 2).score(x, x[:, 0] ** 2) > 0.99)
    True
    """

    def __init__(
        self, loss: str = "squared_error", hidden_layer_sizes: Any = (100,),
        activation: str = "relu", *, solver: str = "adam", alpha: float = 0.0001,
        batch_size: Any = "auto", learning_rate: str = "constant",
        learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200,
        shuffle: bool = True, random_state: Any = None, tol: float = 1e-4, verbose: bool = False,
        warm_start: bool = False, momentum: float = 0.9, nesterovs_momentum: bool = True,
        early_stopping: bool = False, validation_fraction: float = 0.1, beta_1: float = 0.9,
        beta_2: float = 0.999, epsilon: float = 1e-8, n_iter_no_change: int = 10,
        max_fun: int = 15000, dropout: float = 0.0, batch_norm: bool = False,
        callbacks: Any = None,
    ) -> None:  # fmt: skip
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.callbacks = callbacks

    @available_if(_MLP._iterates)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """One epoch over some rows, going on from the last call; the arguments are `fit`'s."""
        return self._fit(X, y, sample_weight, incremental=True)

    def _encode(self, y: Array, again: bool) -> Array:
        if self.loss not in ("squared_error", "poisson"):
            self._wrong("loss", "squared_error or poisson")
        if self.loss == "poisson" and y.min() < 0:
            raise ValueError("loss='poisson' needs targets that are not negative")
        self._flat = y.ndim == 1
        targets: Array = y[:, None] if self._flat else y
        if again and targets.shape[1] != self.n_outputs_:
            raise ValueError(
                f"y has {targets.shape[1]} outputs, but the network was made for {self.n_outputs_}"
            )
        return targets

    def _loss(self) -> Any:
        return poisson_loss if self.loss == "poisson" else half_squared_error

    def _outputs(self, targets: Array) -> int:
        return int(targets.shape[1])

    def _out_activation(self) -> str:
        return "exp" if self.loss == "poisson" else "identity"

    def _stratum(self, targets: Array) -> Array | None:
        return None

    def _numbers(self, raw: Array) -> Array:
        return np.exp(raw) if self.loss == "poisson" else raw

    def _score(self, X: Array, targets: Array, weight: Array) -> float:
        """R squared."""
        return float(r2_score(targets, self._numbers(self._forward(X)), sample_weight=weight))

    def predict(self, X: Any) -> Array:
        """The numbers, ``[rows]`` or ``[rows, outputs]`` as `y` was."""
        found = self._numbers(self._raw(X))
        return found[:, 0] if self._flat else found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
