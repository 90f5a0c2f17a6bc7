"""Layers, activations, losses and initial values for building networks."""

from ..activations import (
    elu,
    gelu,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    log_sigmoid,
    mish,
    prelu,
    relu6,
    selu,
    silu,
    softsign,
)
from ..functional import log_softmax, relu, sigmoid, softmax, softplus, tanh
from . import init
from .activations import (
    ELU,
    GELU,
    SELU,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from .classification import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy_loss,
    nll_loss,
    soft_cross_entropy_loss,
)
from .dropout import Dropout, dropout
from .embedding import Embedding
from .layers import Flatten, Identity, Linear, Sequential
from .losses import (
    gaussian_nll_loss,
    huber_loss,
    kl_div_loss,
    l1_loss,
    mse_loss,
    poisson_nll_loss,
    quantile_loss,
    smooth_l1_loss,
)
from .module import Module, load_state_dict, named_parameters, parameters, state_dict
from .norm import BatchNorm1d, LayerNorm, RMSNorm, layer_norm, rms_norm
from .recommend import Recommendation, recommend
from .replicas import stack, unstack
from .watching import watch

__all__ = [
    "BatchNorm1d", "Dropout", "ELU", "Embedding", "Flatten", "GELU", "Hardsigmoid", "Hardswish",
    "Hardtanh", "Identity", "LayerNorm", "LeakyReLU", "Linear", "LogSigmoid", "LogSoftmax",
    "Mish", "Module", "PReLU", "RMSNorm", "ReLU", "ReLU6", "Recommendation", "SELU",
    "Sequential", "SiLU", "Sigmoid", "Softmax", "Softplus", "Softsign", "Tanh",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy_loss", "dropout",
    "elu", "gaussian_nll_loss", "gelu", "hardsigmoid", "hardswish", "hardtanh", "huber_loss",
    "init", "kl_div_loss", "l1_loss", "layer_norm", "leaky_relu", "load_state_dict",
    "log_sigmoid", "log_softmax", "mish", "mse_loss", "named_parameters", "nll_loss",
    "parameters", "poisson_nll_loss", "prelu", "quantile_loss", "recommend", "relu", "relu6",
    "rms_norm", "selu", "sigmoid", "silu", "smooth_l1_loss", "soft_cross_entropy_loss",
    "softmax", "softplus", "softsign", "stack", "state_dict", "tanh", "unstack", "watch",
]  # fmt: skip
