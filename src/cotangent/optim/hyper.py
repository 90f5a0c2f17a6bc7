"""Functions of hyperparameters that updates ask the host for: see `Optimizer.update`."""

from __future__ import annotations

from typing import Any


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
