"""Optimizers, learning rate schedules, and clipping of gradients."""

from .adagrad import Adagrad
from .adam import Adam, AdamW
from .clip import clip_norm
from .lbfgs import LBFGS
from .lion import Lion
from .optimizer import Optimizer
from .plateau import ReduceLROnPlateau
from .rmsprop import RMSprop
from .schedules import (
    Schedule,
    constant,
    cosine_decay,
    exponential_decay,
    join,
    linear,
    multi_step_decay,
    one_cycle,
    step_decay,
    warmup,
)
from .sgd import SGD

__all__ = [
    "Adagrad", "Adam", "AdamW", "LBFGS", "Lion", "Optimizer", "RMSprop", "ReduceLROnPlateau",
    "SGD", "Schedule", "clip_norm", "constant", "cosine_decay", "exponential_decay", "join",
    "linear", "multi_step_decay", "one_cycle", "step_decay", "warmup",
]  # fmt: skip
