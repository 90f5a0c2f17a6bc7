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
        backend: where creation functions allocate, or None for NumPy.
    """

    grad: bool = True
    trace: Any = None
    depth: int = 0
    backend: Any = None


class Epoch:
    """Two counters that compiled functions compare instead of looking at every variable.

    Attributes:
        value: bumped by every event that a compiled call must look into.
        structure: bumped, with `value`, where the program itself may have to be another one.
        moves: bumped where a variable went to another backend.
    """

    __slots__ = ("value", "structure", "moves")

    def __init__(self) -> None:
        self.value = 0
        self.structure = 0
        self.moves = 0

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
        threads: how many threads compiled code uses; None until it is asked for.
    """

    __slots__ = ("default_float", "threads")

    def __init__(self) -> None:
        self.default_float = np.dtype("float32")
        self.threads: int | None = None


STATE = State()
EPOCH = Epoch()
SETTINGS = Settings()
