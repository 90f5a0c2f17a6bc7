"""`MLPClassifier`."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    type_of_target,
    unique_labels,
)

from .. import ops
from ..functional import softmax
from ..tensors import Tensor
from .base import Array, Perceptron
from .training import class_loss, label_loss


class MLPClassifier(ClassifierMixin, Perceptron):
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
        self._keep(locals())

    @available_if(Perceptron._iterates)
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
        known = again or (hasattr(self, "classes_") and not hasattr(self, "model_"))
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
