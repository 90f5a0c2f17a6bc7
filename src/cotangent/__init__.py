"""Cotangent: deep learning for small and medium networks, eager to write, compiled to run."""

import importlib
from math import e, inf, nan, pi
from typing import TYPE_CHECKING, Any

from . import io, nn, optim, random
from ._version import __version__
from .creation import arange, eye, full, linspace, ones, ones_like, zeros, zeros_like
from .custom import custom_vjp
from .dtypes import (
    bool_,
    default_dtype,
    finfo,
    float16,
    float32,
    float64,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    result_type,
    set_default_dtype,
    uint8,
    uint16,
    uint32,
    uint64,
)
from .elementary import (
    acosh,
    allclose,
    asinh,
    atanh,
    exp2,
    hypot,
    isclose,
    lerp,
    nan_to_num,
    xlogy,
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
    NonFiniteError,
    ShapeError,
    TraceError,
    UnknownKeyError,
    VerificationError,
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
from .indexing import masked_fill, nonzero, take_along_axis
from .io import load, save
from .jacobians import hessian, jacobian
from .linalg import cholesky, diag, einsum, solve_triangular, tensordot, vecdot
from .mapping import vmap
from .ops import (
    absolute,
    acos,
    add,
    asin,
    atan,
    atan2,
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    ceil,
    cos,
    divide,
    equal,
    erf,
    exp,
    expm1,
    floor,
    floor_divide,
    less,
    less_equal,
    log,
    log1p,
    log2,
    log10,
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
    pow,
    reciprocal,
    remainder,
    round,
    sign,
    sin,
    sqrt,
    subtract,
    tan,
    trunc,
    where,
)
from .ops import absolute as abs
from .placement import backend
from .random import manual_seed
from .rearrange import (
    chunk,
    concat,
    diagonal,
    flatten,
    flip,
    meshgrid,
    moveaxis,
    pad,
    repeat,
    roll,
    split,
    stack,
    swapaxes,
    tile,
    trace,
    tril,
    triu,
    unstack,
)
from .recompute import checkpoint
from .runtime.threads import get_num_threads, set_num_threads
from .sorting import (
    argsort,
    cumulative_prod,
    cumulative_sum,
    diff,
    isin,
    median,
    quantile,
    searchsorted,
    sort,
    topk,
)
from .statistics import (
    all,
    any,
    argmin,
    cosh,
    cross,
    isfinite,
    isinf,
    isnan,
    logical_xor,
    norm,
    outer,
    prod,
    sinh,
    std,
)
from .statistics import var as variance
from .tensors import Tensor, Variable, asarray, tensor, var
from .transforms import grad, jvp, value_and_grad, vjp

if TYPE_CHECKING:
    from . import data, tabular, testing, train, viz
    from .compiler.compiled import jit
    from .compiler.nans import debug_nans
    from .dtypes import DType

    bfloat16: DType

newaxis = None

# The compiler and the data sets are a third of the time to import; they come when first named.
_LATER = {
    "bfloat16": ".dtypes",
    "jit": ".compiler.compiled",
    "debug_nans": ".compiler.nans",
    "data": ".data",
    "tabular": ".tabular",
    "testing": ".testing",
    "train": ".train",
    "viz": ".viz",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'cotangent' has no attribute {name!r}")
    module = importlib.import_module(_LATER[name], __name__)
    found: Any = module
    if name in ("jit", "debug_nans"):
        found = getattr(module, name)
    elif name == "bfloat16":
        found = module.bfloat16()
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "ArgumentError", "ArgumentTypeError", "BackendError", "BoundsError", "CompileError",
    "DTypeError", "Error", "FileError", "GradientError", "Gradients", "MissingPackageError",
    "MutationError", "NonFiniteError", "ShapeError", "Tensor", "TraceError", "UnknownKeyError",
    "Variable", "VerificationError", "__version__", "abs", "absolute", "acos", "acosh", "add",
    "all", "allclose", "any", "arange", "argmax", "argmin", "argsort", "asarray", "asin",
    "asinh", "astype", "atan", "atan2", "atanh", "backend", "bfloat16", "bitwise_and",
    "bitwise_invert", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor",
    "bool_", "broadcast_arrays", "broadcast_to", "ceil", "checkpoint", "cholesky", "chunk",
    "clip", "concat", "cos", "cosh", "count_nonzero", "cross", "cumulative_prod",
    "cumulative_sum", "custom_vjp", "data", "debug_nans", "default_dtype", "diag", "diagonal",
    "diff", "divide", "e", "einsum", "equal", "erf", "exp", "exp2", "expand_dims", "expm1",
    "eye", "finfo", "flatten", "flip", "float16", "float32", "float64", "floor", "floor_divide",
    "full", "get_num_threads", "grad", "greater", "greater_equal", "hessian", "hypot", "iinfo",
    "inf", "int16", "int32", "int64", "int8", "io", "isclose", "isfinite", "isin", "isinf",
    "isnan", "jacobian", "jit", "jvp", "lerp", "less", "less_equal", "linspace", "load", "log",
    "log10", "log1p", "log2", "log_softmax", "logaddexp", "logical_and", "logical_not",
    "logical_or", "logical_xor", "logsumexp", "manual_seed", "masked_fill", "matmul",
    "matrix_transpose", "max", "maximum", "mean", "median", "meshgrid", "min", "minimum",
    "moveaxis", "mul_no_nan", "multiply", "nan", "nan_to_num", "negative", "newaxis", "nn",
    "no_grad", "nonzero", "norm", "not_equal", "one_hot", "ones", "ones_like", "optim", "outer",
    "pad", "permute_dims", "pi", "pow", "power", "prod", "quantile", "random", "reciprocal",
    "relu", "remainder", "repeat", "reshape", "result_type", "roll", "round", "save",
    "searchsorted", "set_default_dtype", "set_num_threads", "sigmoid", "sign", "sin", "sinh",
    "softmax", "softplus", "solve_triangular", "sort", "split", "sqrt", "square", "squeeze",
    "stack", "std", "subtract", "sum", "swapaxes", "tabular", "take", "take_along_axis", "tan",
    "tanh", "tensor", "tensordot", "testing", "tile", "topk", "trace", "train", "tril", "triu",
    "trunc", "uint16", "uint32", "uint64", "uint8", "unstack", "value_and_grad", "var", "variance",
    "vecdot", "vjp", "viz", "vmap", "where", "xlogy", "zeros", "zeros_like",
]  # fmt: skip
