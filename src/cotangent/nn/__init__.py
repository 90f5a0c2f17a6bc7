"""Layers, losses and initial values for building networks."""

from ..functional import log_softmax, relu, sigmoid, softmax, tanh
from . import init
from .layers import (
    Flatten,
    Identity,
    Linear,
    LogSoftmax,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Tanh,
)
from .losses import (
    binary_cross_entropy_with_logits,
    cross_entropy_loss,
    mse_loss,
    soft_cross_entropy_loss,
)
from .module import Module, load_state_dict, named_parameters, parameters, state_dict

__all__ = [
    "Flatten", "Identity", "Linear", "LogSoftmax", "Module", "ReLU", "Sequential", "Sigmoid",
    "Softmax", "Tanh", "binary_cross_entropy_with_logits", "cross_entropy_loss", "init",
    "load_state_dict", "log_softmax", "mse_loss", "named_parameters", "parameters", "relu",
    "sigmoid", "soft_cross_entropy_loss", "softmax", "state_dict", "tanh",
]  # fmt: skip
