"""The state that everything reads: gradient mode, the trace that is on, defaults, the epoch.

`STATE` is per thread. `EPOCH` is one integer for the whole process: whatever a compiled
function must not overlook (a variable that was read or rebound, a layer that was replaced, a
hyperparameter, ``train()`` and ``eval()``) bumps it, and a compiled call compares it.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np


class State(threading.local):
    """What differs by thread.

    Attributes:
        grad: whether operations on tracked tensors are recorded on the tape.
        trace: the trace that evaluates operations now, or None for eager work.
        depth: how many transformations (`grad`, `vjp`, ...) are running around this point.
    """

    grad: bool = True
    trace: Any = None
    depth: int = 0


class Epoch:
    """Two counters that compiled functions compare instead of looking at every variable.

    Attributes:
        value: bumped by every event that a compiled call must look into.
        structure: bumped, with `value`, where the program itself may have to be another one.
    """

    __slots__ = ("value", "structure")

    def __init__(self) -> None:
        self.value = 0
        self.structure = 0

    def bump(self) -> None:
        """A variable was rebound, or its storage was read."""
        self.value += 1

    def restructure(self) -> None:
        """A layer, a mode, a hyperparameter or a setting changed."""
        self.value += 1
        self.structure += 1


class Settings:
    """What is the same in all threads.

    Attributes:
        default_float: the dtype of Python floats and of float64 arrays that come in.
    """

    __slots__ = ("default_float",)

    def __init__(self) -> None:
        self.default_float = np.dtype("float32")


STATE = State()
EPOCH = Epoch()
SETTINGS = Settings()
