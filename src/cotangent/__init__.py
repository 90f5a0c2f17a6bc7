"""Cotangent: deep learning for small and medium networks, eager to write, compiled to run."""

from . import data, io, nn, optim, random
from ._version import __version__
from .compiler.compiled import jit
from .creation import arange, eye, full, linspace, ones, ones_like, zeros, zeros_like
from .dtypes import (
    bool_,
    default_dtype,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    set_default_dtype,
    uint8,
    uint16,
    uint32,
    uint64,
)
from .errors import (
    ArgumentError,
    ArgumentTypeError,
    BackendError,
    BoundsError,
    CompileError,
    DTypeError,
    Error,
    FileError,
    GradientError,
    MissingPackageError,
    MutationError,
    ShapeError,
    TraceError,
    UnknownKeyError,
)
from .functional import (
    argmax,
    astype,
    broadcast_arrays,
    broadcast_to,
    clip,
    count_nonzero,
    expand_dims,
    greater,
    greater_equal,
    log_softmax,
    logsumexp,
    matmul,
    matrix_transpose,
    max,
    mean,
    min,
    one_hot,
    permute_dims,
    power,
    relu,
    reshape,
    sigmoid,
    softmax,
    softplus,
    square,
    squeeze,
    sum,
    take,
    tanh,
)
from .gradients import Gradients, no_grad
from .io import load, save
from .ops import (
    absolute,
    add,
    divide,
    equal,
    exp,
    less,
    less_equal,
    log,
    logaddexp,
    logical_and,
    logical_not,
    logical_or,
    maximum,
    minimum,
    mul_no_nan,
    multiply,
    negative,
    not_equal,
    reciprocal,
    sign,
    sqrt,
    subtract,
    where,
)
from .ops import absolute as abs
from .random import manual_seed
from .tensors import Tensor, Variable, asarray, tensor, var
from .transforms import grad, jvp, value_and_grad, vjp

__all__ = [
    "ArgumentError", "ArgumentTypeError", "BackendError", "BoundsError", "CompileError",
    "DTypeError", "Error", "FileError", "GradientError", "Gradients", "MissingPackageError",
    "MutationError", "ShapeError", "Tensor", "TraceError", "UnknownKeyError", "Variable",
    "__version__", "abs", "absolute", "add", "arange", "argmax", "asarray", "astype", "bool_",
    "broadcast_arrays", "broadcast_to", "clip", "count_nonzero", "data", "default_dtype",
    "divide", "equal", "exp", "expand_dims", "eye", "float16", "float32", "float64", "full",
    "grad", "greater", "greater_equal", "int16", "int32", "int64", "int8", "io", "jit", "jvp",
    "less", "less_equal", "linspace", "load", "log", "log_softmax", "logaddexp",
    "logical_and", "logical_not", "logical_or", "logsumexp", "manual_seed", "matmul",
    "matrix_transpose", "max", "maximum", "mean", "min", "minimum", "mul_no_nan", "multiply",
    "negative", "nn", "no_grad", "not_equal", "one_hot", "ones", "ones_like", "optim",
    "permute_dims", "power", "random", "reciprocal", "relu", "reshape", "save",
    "set_default_dtype", "sigmoid", "sign", "softmax", "softplus", "sqrt", "square",
    "squeeze", "subtract", "sum", "take", "tanh", "tensor", "uint16", "uint32", "uint64",
    "uint8", "value_and_grad", "var", "vjp", "where", "zeros", "zeros_like",
]  # fmt: skip
