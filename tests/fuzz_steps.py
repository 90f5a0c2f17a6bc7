"""Random programs over the library's ops: the steps that a program of `fuzz.py` is made of.

A maker takes a `Pool` of the values so far and returns ``(op, inputs, attributes)``; what an op
does is a function of tensors in `APPLY`. A maker may propose a step that does not fit: the op
then raises an error of the library, and the step is dropped.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import cotangent as ct
from cotangent import nn, ops

# Sizes around the widths of vectors and tiles, and above 32, where kernels take them as numbers.
SIZES = (1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 20, 31, 32, 33, 40, 63, 65)
MOST_ELEMENTS = 3000
LARGE = (130, 257, 300)
INTEGERS = ("int32", "int64")


class Pool:
    """The values of a program while it grows: number -> tensor; and its random choices."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.values: dict[int, ct.Tensor] = {}
        self.leaves: dict[int, Any] = {}
        self.float = "float64" if rng.random() < 0.3 else "float32"
        self.wild = rng.random() < 0.08  # infinities, NaN and zeros are welcome
        self._count = 0

    def number(self) -> int:
        """A number for a new value."""
        self._count += 1
        return self._count

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def choice(self, items: Any) -> Any:
        items = list(items)
        return items[int(self.rng.integers(len(items)))]

    def shape(self, rank: int | None = None) -> tuple[int, ...]:
        """A random shape; sometimes without axes or elements."""
        rank = self.choice((0, 1, 1, 2, 2, 2, 3, 3, 4)) if rank is None else rank
        if rank and self.chance(0.02):
            return tuple(self.choice((0, 1, 3)) for _ in range(rank))
        while True:
            shape = tuple(self.choice(SIZES) for _ in range(rank))
            if rank and self.chance(0.04):  # beyond blocks, and what is passed by address
                return (*[self.choice((1, 3, 19)) for _ in shape[1:]], self.choice(LARGE))
            if np.prod(shape) <= MOST_ELEMENTS:
                return shape

    def new(self, shape: tuple[int, ...], dtype: str) -> int:
        """The number of a new argument."""
        number = self.number()
        if dtype == "bool":
            array = self.rng.random(shape) < 0.5
        elif dtype in INTEGERS:
            array = self.rng.integers(-9, 10, shape).astype(dtype)
        else:
            array = self.rng.uniform(-2, 2, shape).astype(dtype)
            if self.wild and array.size:
                array.flat[self.rng.integers(array.size)] = self.choice((0.0, -0.0, np.inf, np.nan))
        self.leaves[number] = np.asarray(array)
        self.values[number] = ct.asarray(self.leaves[number])
        return number

    def pick(self, kinds: str = "f", rank: int = 0) -> int:
        """A value of a kind ("f", "i", "b") and at least that rank; recent ones more often."""
        fit = [n for n, x in self.values.items() if x.dtype.kind in kinds and len(x.shape) >= rank]
        if not fit or self.chance(0.12):
            dtype = {"f": self.float, "i": self.choice(INTEGERS), "b": "bool"}[kinds[0]]
            shape = self.shape(None if not rank else max(rank, self.choice((1, 2, 3))))
            return self.new(shape, dtype)
        back = min(int(self.rng.exponential(4.0)), len(fit) - 1)
        return fit[-1 - back]

    def partner(self, number: int) -> int:
        """A value that broadcasts with `number`: one that there is, or a new one."""
        x = self.values[number]
        if self.chance(0.6):
            fit = [
                n for n, y in self.values.items()
                if y.dtype == x.dtype and _broadcasts(x.shape, y.shape)
            ]  # fmt: skip
            if fit:
                return self.choice(fit)
        shape = tuple(1 if self.chance(0.3) else n for n in x.shape)
        shape = shape[int(self.rng.integers(len(shape) + 1)) if self.chance(0.4) else 0 :]
        if self.chance(0.1) and np.prod(x.shape) < 300:
            shape = (int(self.rng.integers(1, 4)), *x.shape)
        return self.new(shape, str(x.dtype))

    def axes(self, rank: int) -> tuple[int, ...]:
        """Some axes of a tensor, perhaps none, in order."""
        return tuple(i for i in range(rank) if self.chance(0.5))

    def axis(self, x: Any) -> int:
        return int(self.rng.integers(-len(x.shape), len(x.shape)))


def _broadcasts(a: Any, b: Any) -> bool:
    try:
        return bool(np.prod(np.broadcast_shapes(a, b)) <= MOST_ELEMENTS)
    except ValueError:
        return False


# -- elementwise ------------------------------------------------------------------------------

SMOOTH = {
    "exp": lambda x: ct.exp(x), "log": lambda x: ct.log(x), "sqrt": lambda x: ct.sqrt(x),
    "tanh": ct.tanh, "sigmoid": ct.sigmoid, "reciprocal": ct.reciprocal, "negative": ct.negative,
    "relu": ct.relu, "abs": ct.abs, "sign": ct.sign, "square": ct.square, "sin": ct.sin,
    "cos": ct.cos, "atan": ct.atan, "expm1": ct.expm1, "log1p": ct.log1p, "log2": ct.log2,
    "erf": ct.erf, "floor": ct.floor, "round": ct.round, "softplus": ct.softplus,
    "gelu": nn.gelu, "silu": nn.silu, "trunc": ct.trunc, "ceil": ct.ceil,
    "asin": ct.asin, "acos": ct.acos, "tan": ct.tan, "log10": ct.log10,
    "clip": lambda x: ct.clip(x, -0.7, 0.9), "affine": lambda x: 1.5 * x - 0.25,
    "positive": lambda x: ct.abs(x) + 0.5, "small": lambda x: ct.tanh(x) * 0.875,
    "cube": lambda x: x**3, "root": lambda x: x**0.5, "shifted": lambda x: (x + 1) - x / 3,
    "masked": lambda x: ct.where(x > 0.1, x, ct.zeros_like(x)),
    "guarded log": lambda x: ct.where(x > 0.1, ct.log(ct.abs(x) + 0.1), 0.5 * x),
}  # fmt: skip
# What makes the inputs of an op fit its domain.
BEFORE = {
    "exp": "small", "expm1": "small", "log": "positive", "sqrt": "positive", "log2": "positive",
    "log10": "positive", "reciprocal": "positive", "log1p": "positive", "asin": "small",
    "acos": "small", "tan": "small", "root": "positive", "cube": "small", "square": "small",
}  # fmt: skip
PAIRS = {
    "add": ct.add, "subtract": ct.subtract, "multiply": ct.multiply, "divide": ct.divide,
    "maximum": ct.maximum, "minimum": ct.minimum, "atan2": ct.atan2, "logaddexp": ct.logaddexp,
    "remainder": ct.remainder, "mul_no_nan": ct.mul_no_nan, "pow": ct.pow,
    "floor_divide": ct.floor_divide,
}  # fmt: skip
INTEGER_PAIRS = ("add", "subtract", "multiply", "maximum", "minimum", "remainder", "floor_divide",
                 "bitwise_and", "bitwise_or", "bitwise_xor")  # fmt: skip
COMPARE = ("less", "less_equal", "equal", "not_equal", "greater", "greater_equal")


def unary(pool: Pool) -> Any:
    op = pool.choice(SMOOTH)
    x = pool.pick()
    before = "" if pool.wild else BEFORE.get(op, "")
    return "unary", (x,), {"op": op, "before": before}


def binary(pool: Pool) -> Any:
    op = pool.choice(PAIRS)
    x = pool.pick()
    y = pool.partner(x)
    if pool.chance(0.5):
        x, y = y, x
    domain = {"divide": "second", "remainder": "second", "floor_divide": "second", "pow": "both"}
    return "binary", (x, y), {"op": op, "domain": "" if pool.wild else domain.get(op, "")}


def integers(pool: Pool) -> Any:
    x = pool.pick("i")
    return "function", (x, pool.partner(x)), {"name": pool.choice(INTEGER_PAIRS)}


def compare(pool: Pool) -> Any:
    x = pool.pick(pool.choice("ffi"))
    return "function", (x, pool.partner(x)), {"name": pool.choice(COMPARE)}


def logic(pool: Pool) -> Any:
    x = pool.pick("b")
    name = pool.choice(("logical_and", "logical_or", "logical_xor"))
    return "function", (x, pool.partner(x)), {"name": name}


def where(pool: Pool) -> Any:
    condition = pool.pick("b")
    x = pool.new(pool.values[condition].shape, pool.float) if pool.chance(0.5) else pool.pick()
    return "function", (condition, x, pool.partner(x)), {"name": "where"}


def cast(pool: Pool) -> Any:
    x = pool.pick(pool.choice("fib"))
    dtype = pool.choice(("float32", "float64", "int32", "int64", "bool", pool.float))
    return "astype", (x,), {"dtype": dtype}


# -- moves ------------------------------------------------------------------------------------


def move(pool: Pool) -> Any:
    x = pool.pick(pool.choice("fffffib"))
    shape = pool.values[x].shape
    rank = len(shape)
    kind = pool.choice(("reshape", "permute", "broadcast", "flip", "slice", "slice", "roll"))
    if kind == "reshape":
        return "reshape", (x,), {"shape": _other_shape(pool, shape)}
    if kind == "permute":
        return "permute_dims", (x,), {"axes": tuple(map(int, pool.rng.permutation(rank)))}
    if kind == "broadcast":
        wider = tuple(pool.choice((2, 3, 5)) if n == 1 else n for n in shape)
        return "broadcast_to", (x,), {"shape": (2, *wider) if pool.chance(0.3) else wider}
    if kind == "flip":
        return "flip", (x,), {"axis": pool.axes(rank)}
    if kind == "roll":
        return "roll", (x,), {"shift": int(pool.rng.integers(-4, 5)), "axis": None}
    return "getitem", (x,), {"key": tuple(_part(pool, n) for n in shape)}


def _other_shape(pool: Pool, shape: Any) -> Any:
    """Another shape with as many elements: axes joined, split or put in."""
    sizes = list(shape)
    if len(sizes) > 1 and pool.chance(0.5):
        i = int(pool.rng.integers(len(sizes) - 1))
        sizes[i : i + 2] = [sizes[i] * sizes[i + 1]]
    elif sizes and pool.chance(0.6):
        i = int(pool.rng.integers(len(sizes)))
        divisors = [d for d in range(1, sizes[i] + 1) if sizes[i] % d == 0] or [1]
        d = pool.choice(divisors)
        sizes[i : i + 1] = [d, sizes[i] // d]
    else:
        sizes.insert(int(pool.rng.integers(len(sizes) + 1)), 1)
    return tuple(sizes)


def _part(pool: Pool, n: int) -> Any:
    """An index of one axis: an integer, or a slice, perhaps backwards."""
    if n and pool.chance(0.1):
        return int(pool.rng.integers(-n, n))
    if pool.chance(0.35):
        return slice(None)
    step = pool.choice((1, 1, 2, 3, -1, -2, -3))
    ends = sorted(int(i) for i in pool.rng.integers(0, n + 1, 2))
    if step > 0:
        return slice(ends[0], ends[1], step)
    return slice(ends[1] - 1 if ends[1] else None, ends[0] - 1 if ends[0] > 1 else None, step)


def join(pool: Pool) -> Any:
    x = pool.pick(rank=1)
    shape, dtype = pool.values[x].shape, str(pool.values[x].dtype)
    axis = pool.axis(pool.values[x]) % len(shape)
    parts = [x]
    for _ in range(pool.choice((1, 1, 2))):
        size = pool.choice((0, 1, 2, 5, 17)) if pool.chance(0.5) else shape[axis]
        same = [n for n, v in pool.values.items() if v.shape == shape and str(v.dtype) == dtype]
        new = (*shape[:axis], size, *shape[axis + 1 :])
        parts.append(pool.choice(same) if pool.chance(0.5) else pool.new(new, dtype))
    return pool.choice(("concat", "concat", "stack")), tuple(parts), {"axis": axis}


def pad(pool: Pool) -> Any:
    x = pool.pick(pool.choice("ffi"), rank=1)
    widths = [tuple(map(int, pool.rng.integers(0, 4, 2))) for _ in pool.values[x].shape]
    return "pad", (x,), {"widths": tuple(widths), "value": pool.choice((0, 0, 2))}


def triangle(pool: Pool) -> Any:
    return pool.choice(("tril", "triu")), (pool.pick(rank=2),), {"k": pool.choice((-1, 0, 1))}


# -- indexing ---------------------------------------------------------------------------------


def gather(pool: Pool) -> Any:
    x = pool.pick(pool.choice("fffi"), rank=1)
    shape = pool.values[x].shape
    axis = pool.axis(pool.values[x])
    count = shape[axis]
    if not count:
        return None
    index = pool.new(pool.choice(((), (1,), (3,), (17,), (2, 3), (0,), (40,))), "int64")
    _set(pool, index, pool.rng.integers(-count, count, pool.values[index].shape))
    return "take", (x, index), {"axis": axis}


def _set(pool: Pool, leaf: int, array: Any) -> None:
    pool.leaves[leaf] = np.asarray(array, pool.leaves[leaf].dtype)
    pool.values[leaf] = ct.asarray(pool.leaves[leaf])


def update(pool: Pool) -> Any:
    x = pool.pick(rank=1)
    shape, dtype = pool.values[x].shape, str(pool.values[x].dtype)
    what = pool.choice(("set", "add"))
    if pool.chance(0.5) or not shape[0]:
        key = tuple(_part(pool, n) for n in shape[: pool.choice((1, len(shape)))])
        inside = np.empty(shape, bool)[key].shape
        return "at slice", (x, pool.new(inside, dtype)), {"key": key, "what": what}
    count = pool.choice((0, 1, 3, 9))
    index = pool.new((count,), "int64")
    _set(pool, index, pool.rng.integers(-shape[0], shape[0], count))
    values = pool.new((count, *shape[1:]) if pool.chance(0.7) else shape[1:], dtype)
    return "at rows", (x, values, index), {"what": what}


# -- reductions and the like ------------------------------------------------------------------


def reduce(pool: Pool) -> Any:
    x = pool.pick(pool.choice("ffffi"))
    name = pool.choice(("sum", "sum", "mean", "max", "min"))
    axis = pool.axes(len(pool.values[x].shape)) if pool.chance(0.8) else None
    return name, (x,), {"axis": axis, "keepdims": pool.chance(0.5)}


def along(pool: Pool) -> Any:
    x = pool.pick(rank=1)
    name = pool.choice(("softmax", "log_softmax", "logsumexp", "cumulative_sum", "sort",
                        "normalized", "argmax", "argsort", "std", "unit"))  # fmt: skip
    return name, (x,), {"axis": pool.axis(pool.values[x])}


def product(pool: Pool) -> Any:
    x = pool.pick(rank=1)
    shape, dtype = pool.values[x].shape, str(pool.values[x].dtype)
    columns = pool.choice(SIZES)
    right: tuple[int, ...] = (shape[-1], columns)
    if len(shape) == 3 and pool.chance(0.5):
        right = (pool.choice((1, shape[0])), *right)
    if pool.chance(0.1):
        right = (shape[-1],)
    same = [n for n, v in pool.values.items()
            if v.shape[-2:-1] == shape[-1:] and v.dtype == dtype]  # fmt: skip
    y = pool.choice(same) if same and pool.chance(0.4) else pool.new(right, dtype)
    if len(pool.values[y].shape) > 1 and pool.chance(0.3):
        flipped = pool.new((*right[:-2], *right[:-3:-1]), dtype)
        if len(pool.values[flipped].shape) > 1:
            return "matmul transposed", (x, flipped), {}
    return "matmul", (x, y), {}


def _normalized(x: Any, axis: int) -> Any:
    centered = x - ct.mean(x, axis=axis, keepdims=True)
    return centered / ct.sqrt(ct.mean(centered * centered, axis=axis, keepdims=True) + 0.01)


def _unary(x: Any, op: str, before: str) -> Any:
    return SMOOTH[op](SMOOTH[before](x) if before else x)


def _binary(x: Any, y: Any, op: str, domain: str) -> Any:
    positive = SMOOTH["positive"]
    if domain == "both":
        return PAIRS[op](positive(x), ct.tanh(y))
    return PAIRS[op](x, positive(y) if domain else y)


def _at(x: Any, key: Any, values: Any, what: str) -> Any:
    return getattr(x.at[key], what)(values)


APPLY = {
    "unary": _unary,
    "binary": _binary,
    "function": lambda *xs, name: getattr(ct, name)(*xs),
    "astype": ct.astype,
    "reshape": ct.reshape, "permute_dims": ct.permute_dims, "broadcast_to": ct.broadcast_to,
    "flip": ct.flip, "roll": ct.roll, "getitem": lambda x, key: x[key],
    "concat": lambda *xs, axis: ct.concat(xs, axis=axis),
    "stack": lambda *xs, axis: ct.stack(xs, axis=axis),
    "pad": ct.pad, "tril": ct.tril, "triu": ct.triu, "take": ct.take,
    "at slice": lambda x, values, key, what: _at(x, key, values, what),
    "at rows": lambda x, values, index, what: _at(x, index, values, what),
    "sum": ct.sum, "mean": ct.mean, "max": ct.max, "min": ct.min,
    "softmax": ct.softmax, "log_softmax": ct.log_softmax, "logsumexp": ct.logsumexp,
    "cumulative_sum": ct.cumulative_sum, "sort": ct.sort, "argmax": ct.argmax,
    "argsort": ct.argsort, "normalized": _normalized,
    "std": lambda x, axis: ct.sqrt(ct.variance(x, axis=axis) + 0.01),
    "unit": lambda x, axis: x / (ct.norm(x, axis=axis, keepdims=True) + 0.5),
    "matmul": ct.matmul, "matmul transposed": lambda x, y: ct.matmul(x, y.mT),
    "squash": lambda x: ct.tanh(x * 0.25),
    "scatter": lambda x, index, rows: ops.scatter_add(x, index, rows=rows),
}  # fmt: skip

# Makers, and how often each is asked.
MAKERS = {
    unary: 8, binary: 8, reduce: 5, move: 6, along: 3, product: 3, gather: 2, update: 2, join: 2,
    pad: 1, triangle: 0.5, integers: 1.5, compare: 1, logic: 0.5, where: 1.5, cast: 1,
}  # fmt: skip
