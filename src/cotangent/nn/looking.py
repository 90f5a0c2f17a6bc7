"""Looking at a model without changing it: the modes of its layers, and its buffers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..variables import named_variables, walk
from .module import Module


@contextmanager
def mode(model: Any, training: bool) -> Iterator[None]:
    """Let all modules of a model be in training or in evaluation, and put them back after."""
    changed = [
        item
        for _, item in walk(model)
        if isinstance(item, Module) and item.training is not training
    ]
    for item in changed:
        item.training = training
    try:
        yield
    finally:
        for item in changed:
            item.training = not training


@contextmanager
def untouched(*holders: Any) -> Iterator[None]:
    """Give the variables of `holders` that are no parameters (the buffers of a model, the state of
    a random generator) back afterwards what they hold now."""
    held = [v for holder in holders for _, v in named_variables(holder) if not v.parameter]
    before = [v.detach() for v in held]
    try:
        yield
    finally:
        for variable, value in zip(held, before, strict=True):
            if not np.array_equal(variable.detach().numpy(), value.numpy(), equal_nan=True):
                variable.assign(value)
