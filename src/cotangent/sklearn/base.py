"""What the estimators share: checking, fitting, and the outputs of the network."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, compute_sample_weight
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from .. import optim
from ..errors import ArgumentError
from ..gradients import no_grad
from ..nn.looking import mode
from ..tensors import Tensor
from .training import ACTIVATIONS, Course, build, seeded, train_as_a_whole, train_by_batches

Array = np.ndarray[Any, Any]


class Perceptron(BaseEstimator, ABC):
    """What both estimators share."""

    def _keep(self, settings: dict[str, Any]) -> None:
        """Keep every argument of `__init__` as an attribute of its name, as scikit-learn wants."""
        self.__dict__.update({name: x for name, x in settings.items() if name != "self"})

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
            if not (again and incremental):
                self._reset()  # a warm start keeps the weights, not the moments
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
        self.n_iter_ = self.t_ = 0
        self.loss_curve_: list[float] = []

    def _reset(self) -> None:
        self._optimizer: Any = None
        self._moments: dict[str, Array] = {}  # the state of the optimizer of a pickle

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
        course = Course(self.tol, self.n_iter_no_change, self.learning_rate == "adaptive", score)
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
        whole = not hidden.size or (hidden.dtype.kind in "iu" and hidden.min() >= 1)
        if hidden.ndim != 1 or not whole:
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
