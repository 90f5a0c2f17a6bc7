"""L-BFGS: a quasi-Newton method for whole batches."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from ..checks import real, whole
from ..config import STATE
from ..errors import ArgumentError, ArgumentTypeError, ShapeError, TraceError
from ..tensors import Tensor, Unplaced, Variable
from ..variables import named_variables
from .wolfe import Point, strong_wolfe

Array = np.ndarray[Any, Any]


class LBFGS:
    """Limited-memory BFGS with a strong Wolfe line search, for losses without noise.

    The direction is ``-H g`` with H the BFGS approximation of the inverse Hessian from the latest
    `history` pairs of steps and gradient differences. It works in float64 on one vector of all
    parameters, whatever their dtype.

    Args:
        max_iter: iterations of one call of `step`, each one direction and one line search.
        tolerance_grad: stop when no element of the gradient is larger.
        tolerance_change: stop when neither loss nor parameters change more (relatively).
        history: how many pairs are kept.

    Attributes:
        converged: whether the latest `step` ended by a tolerance rather than by `max_iter`.

    Eager only, but what the closure computes may be compiled: see `step`.

    Source: J. Nocedal, S. Wright, "Numerical Optimization", 2nd edition, 2006, algorithms 7.4,
    3.5 and 3.6.

    >>> w = Tensor.var("w", [5.0, -3.0])
    >>> opt = LBFGS()
    >>> loss = opt.step(w, lambda: ((w - np.array([1.0, 2.0])) ** 2).sum())
    >>> [round(x, 5) for x in w.tolist()]
    [1.0, 2.0]
    """

    def __init__(
        self,
        max_iter: int = 100,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-12,
        history: int = 10,
    ) -> None:
        for name, count in (("max_iter", max_iter), ("history", history)):
            whole("LBFGS", name, count, 1)
        for name, limit in (
            ("tolerance_grad", tolerance_grad), ("tolerance_change", tolerance_change),
        ):  # fmt: skip
            if not 0.0 <= real("LBFGS", name, limit) < math.inf:
                raise ArgumentError(f"LBFGS: {name} must not be negative, got {limit}")
        self.max_iter = int(max_iter)
        self.tolerance_grad = tolerance_grad
        self.tolerance_change = tolerance_change
        self.history = int(history)
        self.converged = False
        self._pairs: deque[tuple[Array, Array]] = deque(maxlen=self.history)
        self._size = -1

    def step(self, target: Any, closure: Callable[[], Any]) -> Tensor:
        """Minimise the loss for up to `max_iter` iterations; another call goes on from there.

        Args:
            target: a variable; or a module, container or object of variables. Frozen ones stay.
            closure: a function without arguments that returns the loss, a scalar tensor, of the
                parameters as they are; a `ct.jit` function will do. It is called at least
                once an iteration and must give equal losses for equal parameters, so it uses no
                dropout.

        Returns:
            The loss at the parameters found, untracked. It is never above the one at the start.

        Raises:
            ArgumentError: if there is nothing to update, or the loss at the start is not finite.
            ShapeError: if the loss is not a scalar.
            TraceError: inside of a compiled function.

        After an error the parameters are what they were before the call.
        """
        if STATE.trace is not None:
            raise TraceError(
                "LBFGS.step: the line search needs numbers, so it cannot be compiled by ct.jit; "
                "compile the closure and call step outside"
            )
        variables = [v for v in _variables(target) if v.requires_grad]
        if not variables:
            raise ArgumentError(f"LBFGS.step: {type(target).__name__} holds nothing to update")
        problem = _Problem(variables, closure)
        point = problem.at(problem.values())
        if not math.isfinite(point.loss):
            raise ArgumentError(f"LBFGS.step: the loss at the start is {point.loss}")
        if self._size != point.x.size:
            self._pairs.clear()
            self._size = point.x.size
        try:
            point = self._iterate(problem, point)
        finally:
            problem.put(point.x)  # after an error, where it began
        return Tensor(np.asarray(point.loss, variables[0].dtype))

    def _iterate(self, problem: _Problem, point: Point) -> Point:
        self.converged = False
        for _ in range(self.max_iter):
            if np.abs(point.gradient).max() <= self.tolerance_grad:
                self.converged = True
                break
            direction = self._direction(point.gradient)
            if not point.gradient @ direction < 0:  # rounding spoilt the approximation
                self._pairs.clear()
                direction = self._direction(point.gradient)
            found = strong_wolfe(problem.at, point, direction)
            if found is None:
                if not self._pairs:
                    break
                self._pairs.clear()  # try once more, downhill
                continue
            change, bend = found.x - point.x, found.gradient - point.gradient
            if change @ bend > 1e-10 * (change @ change):
                self._pairs.append((change, bend))
            small = self.tolerance_change
            if (
                np.abs(change).max() <= small * max(1.0, np.abs(point.x).max())
                or abs(found.loss - point.loss) <= small * max(1.0, abs(point.loss))
            ):  # fmt: skip
                self.converged = True
                return found
            point = found
        return point

    def _direction(self, gradient: Array) -> Array:
        """-H g by the two loops."""
        q = -gradient
        if not self._pairs:
            return q * min(1.0, 1.0 / float(np.abs(gradient).sum()))
        weights = []
        for s, y in reversed(self._pairs):
            weight = (s @ q) / (s @ y)
            q = q - weight * y
            weights.append(weight)
        s, y = self._pairs[-1]
        q = q * ((s @ y) / (y @ y))
        for (s, y), weight in zip(self._pairs, reversed(weights), strict=True):
            q = q + (weight - (y @ q) / (s @ y)) * s
        return q


def _variables(target: Any) -> list[Variable]:
    if isinstance(target, Variable):
        return [target]
    return [variable for _, variable in named_variables(target)]


class _Problem:
    """The loss and its gradient as functions of one float64 vector."""

    def __init__(self, variables: list[Variable], closure: Callable[[], Any]) -> None:
        self.variables = variables
        self.closure = closure

    def values(self) -> Array:
        return np.concatenate([v.numpy().ravel().astype(np.float64) for v in self.variables])

    def put(self, x: Array) -> None:
        start = 0
        for variable in self.variables:
            part = x[start : start + variable.size].reshape(variable.shape)
            variable.assign(Unplaced(part.astype(variable.dtype)))
            start += variable.size

    def at(self, x: Array) -> Point:
        self.put(x)
        loss = self.closure()
        if not isinstance(loss, Tensor):
            raise ArgumentTypeError(
                f"LBFGS.step: the closure must return the loss, a tensor, not {loss!r}"
            )
        if loss.shape != ():
            raise ShapeError(f"LBFGS.step: the loss must be a scalar, not of shape {loss.shape}")
        gradients = loss.backward()
        parts = [
            np.zeros(v.size) if gradients.get(v) is None
            else gradients.wrt(v).numpy().ravel().astype(np.float64)
            for v in self.variables
        ]  # fmt: skip
        return Point(x, float(loss.item()), np.concatenate(parts))
