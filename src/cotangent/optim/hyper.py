"""What updates are made of: functions of hyperparameters, which are asked of the host (see
`Optimizer.update`), and the end of a running mean."""

from __future__ import annotations

from typing import Any

# The smallest normal number of float32; float64 has the same bound.
_LEAST = 2.0**-126


def first(pair: Any) -> float:
    """The first of a pair of hyperparameters, as a function for `hyper`."""
    return float(pair[0])


def second(pair: Any) -> float:
    """The second of a pair of hyperparameters."""
    return float(pair[1])


def rest(number: Any) -> float:
    """1 - number."""
    return 1.0 - float(number)


def rest_of_first(pair: Any) -> float:
    """1 - the first of a pair."""
    return 1.0 - float(pair[0])


def rest_of_second(pair: Any) -> float:
    """1 - the second of a pair."""
    return 1.0 - float(pair[1])


def settled(xp: Any, x: Any) -> Any:
    """`x` with 0 in place of numbers of magnitude below 2**-126; NaN stays.

    A running mean of zeros, such as the gradients of a dead unit, ends among the denormal numbers
    and stays there, since 0.9 of a few units is rounded back to as many. Processors take ten
    times as long, or more, for an operation on those.

    >>> settled(np, np.array([1e-39, 1e-37], np.float32)).tolist()[0]
    0.0
    """
    return xp.where((x < _LEAST) & (x > -_LEAST), 0.0, x)
