"""The primitives, one record each. A name here is the record, and calling it applies the op."""

from .contract import matmul, swap_last
from .convert import astype, check_index, index_error, wrap_index
from .elementwise import (
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
    relu,
    sigmoid,
    sign,
    sqrt,
    subtract,
    tanh,
    where,
)
from .movement import broadcast_to, permute_dims, put_rows, reshape, scatter_add, take
from .primitive import (
    REGISTRY,
    Interpreter,
    PerInput,
    Primitive,
    Sample,
    backward,
    elementwise,
    find,
    install,
    lift,
    pairs,
    real,
    register,
    require_float,
    unregister,
)
from .random import random_bits
from .reduce import max, sum
from .slices import concat, put_slice, strided_slice

__all__ = [
    "REGISTRY", "Interpreter", "PerInput", "Primitive", "Sample", "absolute", "add", "astype", "backward",
    "broadcast_to", "check_index", "concat", "divide", "elementwise", "equal", "exp", "find", "index_error",
    "install",
    "less", "less_equal", "lift", "log", "logaddexp", "logical_and", "logical_not", "logical_or",
    "matmul", "max", "maximum", "minimum", "mul_no_nan", "multiply", "negative", "not_equal",
    "pairs", "permute_dims", "put_rows", "put_slice", "random_bits", "real", "reciprocal", "register", "relu",
    "require_float", "reshape", "scatter_add", "sigmoid", "sign", "sqrt", "strided_slice", "subtract", "sum",
    "swap_last", "take", "tanh", "unregister", "where", "wrap_index",
]  # fmt: skip
