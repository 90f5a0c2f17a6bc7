"""A line search for the strong Wolfe conditions.

Source: J. Nocedal, S. Wright, "Numerical Optimization", 2nd edition, 2006, algorithms 3.5, 3.6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]

_DECREASE, _CURVATURE = 1e-4, 0.9
_MOST_TRIES = 25


class Point(NamedTuple):
    """A place, the loss there, and its gradient."""

    x: Array
    loss: float
    gradient: Array


class _Trial(NamedTuple):
    """A point at distance `t` along the line, with the slope of the loss there."""

    t: float
    loss: float
    slope: float
    point: Point


def strong_wolfe(at: Callable[[Array], Point], start: Point, direction: Array) -> Point | None:
    """A point along `direction` that meets the strong Wolfe conditions, or is nearly as good.

    Args:
        at: the loss and gradient at a place.
        start: where the line begins.
        direction: downhill; its length is the first try.

    Returns:
        A point with a smaller loss; None if there is none to be found.
    """

    def trial(t: float) -> _Trial:
        point = at(start.x + t * direction)
        return _Trial(t, point.loss, float(point.gradient @ direction), point)

    first = _Trial(0.0, start.loss, float(start.gradient @ direction), start)
    before, t = first, 1.0
    for i in range(_MOST_TRIES):
        now = trial(t)
        if not math.isfinite(now.loss) or not np.isfinite(now.slope):
            t = (before.t + t) / 2.0  # too far: the loss is not defined there
            continue
        if _is_too_high(now, first) or (i and now.loss >= before.loss):
            return _zoom(trial, first, before, now)
        if abs(now.slope) <= -_CURVATURE * first.slope:
            return now.point
        if now.slope >= 0:
            return _zoom(trial, first, now, before)
        before, t = now, 2.0 * t
    return before.point if before.t > 0 else None


def _is_too_high(now: _Trial, first: _Trial) -> bool:
    return now.loss > first.loss + _DECREASE * now.t * first.slope


def _zoom(
    trial: Callable[[float], _Trial], first: _Trial, low: _Trial, high: _Trial
) -> Point | None:
    """Between `low`, the best so far, and `high` there is a point that will do; halve to it."""
    for _ in range(_MOST_TRIES):
        now = trial(_between(low, high))
        if _is_too_high(now, first) or not now.loss < low.loss:
            high = now
        else:
            if abs(now.slope) <= -_CURVATURE * first.slope:
                return now.point
            if now.slope * (high.t - low.t) >= 0:
                high = low
            low = now
        if abs(high.t - low.t) <= 1e-12 * max(1.0, low.t):
            break
    return low.point if low.loss < first.loss else None


def _between(low: _Trial, high: _Trial) -> float:
    """The minimum of the cubic through both ends, kept away from them."""
    middle = (low.t + high.t) / 2.0
    width = high.t - low.t
    if not math.isfinite(high.loss):
        return middle
    a = low.slope + high.slope - 3.0 * (low.loss - high.loss) / -width
    square = a * a - low.slope * high.slope
    if square < 0:
        return middle
    root = math.copysign(math.sqrt(square), width)
    bottom = high.slope - low.slope + 2.0 * root
    if bottom == 0:
        return middle
    t = high.t - width * (high.slope + root - a) / bottom
    edge = 0.1 * abs(width)
    inside = min(low.t, high.t) + edge <= t <= max(low.t, high.t) - edge
    return t if inside else middle
