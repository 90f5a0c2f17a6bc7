"""The primitives, one record each. A name here is the record, and calling it applies the op."""

from .contract import matmul, swap_last
from .convert import astype, check_index, check_zero, index_error, wrap_index
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
from .mathematics import (
    acos,
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
    erf,
    expm1,
    floor,
    floor_divide,
    log1p,
    log2,
    log10,
    pow,
    remainder,
    round,
    sin,
    tan,
    trunc,
    whole_power,
)
from .movement import broadcast_to, permute_dims, put_rows, reshape, scatter_add, take
from .order import argsort, cumulative_sum
from .place import place
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
from .triangular import cholesky, solve_triangular

__all__ = [
    "Interpreter", "PerInput", "Primitive", "REGISTRY", "Sample", "absolute", "acos", "add",
    "argsort", "asin", "astype", "atan", "atan2", "backward", "bitwise_and", "bitwise_invert",
    "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "broadcast_to",
    "ceil", "check_index", "check_zero", "cholesky", "concat", "cos", "cumulative_sum", "divide",
    "elementwise", "equal", "erf", "exp", "expm1", "find", "floor", "floor_divide",
    "index_error", "install", "less", "less_equal", "lift", "log", "log10", "log1p", "log2",
    "logaddexp", "logical_and", "logical_not", "logical_or", "matmul", "max", "maximum",
    "minimum", "mul_no_nan", "multiply", "negative", "not_equal", "pairs", "permute_dims",
    "place", "pow", "put_rows", "put_slice", "random_bits", "real", "reciprocal", "register",
    "relu", "remainder", "require_float", "reshape", "round", "scatter_add", "sigmoid", "sign",
    "sin", "solve_triangular", "sqrt", "strided_slice", "subtract", "sum", "swap_last", "take",
    "tan", "tanh", "trunc", "unregister", "where", "whole_power", "wrap_index",
]  # fmt: skip
