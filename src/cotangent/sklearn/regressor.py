"""`MLPRegressor`."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if

from .base import Array, Perceptron
from .training import half_squared_error, poisson_loss


class MLPRegressor(RegressorMixin, Perceptron):
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
        self._keep(locals())

    @available_if(Perceptron._iterates)
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
