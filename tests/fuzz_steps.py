"""Random programs over the library's ops: the steps that a program of `fuzz.py` is made of.

A maker takes a `Pool` of the values so far and returns ``(op, inputs, attributes)``; what an op
does is a function of tensors in `fuzz_ops.APPLY`. A maker may propose a step that does not fit:
the op then raises an error of the library, and the step is dropped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from fuzz_ops import BEFORE, PAIRS, SMOOTH

import cotangent as ct
from cotangent.dtypes import as_dtype, is_float

# Sizes around the widths of vectors and tiles, and above 32, where kernels take them as numbers.
SIZES = (1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 20, 31, 32, 33, 40, 63, 65)
MOST_ELEMENTS = 3000
LARGE = (130, 257, 300)
INTEGERS = ("int32", "int64", "int32", "int64", "int8", "uint8", "int16", "uint32")
# Long functions, and rounding to two bytes after every op, take LLVM a long time: they are drawn
# less often than others.
FLOATS = ("float32",) * 24 + ("float64",) * 6 + ("float16", "bfloat16")
LONG = frozenset((
    "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "pow", "logaddexp", "expm1", "log1p",
    "log2", "log10", "erf", "gelu", "remainder", "floor_divide", "root",
))  # fmt: skip


def kind(dtype: Any) -> str:
    """ "f", "i" or "b": floats, integers, bools."""
    return "f" if is_float(dtype) else "b" if dtype.kind == "b" else "i"


class Pool:
    """The values of a program while it grows: number -> tensor; and its random choices."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.values: dict[int, ct.Tensor] = {}
        self.leaves: dict[int, Any] = {}
        self.float = str(self.choice(FLOATS))
        self.indices: dict[int, int] = {}  # arguments that are indices: below what
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
        if rank and self.chance(0.03):
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
            array = self.rng.integers(0 if dtype[0] == "u" else -9, 10, shape).astype(dtype)
        else:
            array = np.asarray(self.rng.uniform(-2, 2, shape)).astype(as_dtype(dtype))
            if self.wild and array.size:
                array.flat[self.rng.integers(array.size)] = self.choice((0.0, -0.0, np.inf, np.nan))
        self.leaves[number] = np.asarray(array)
        self.values[number] = ct.asarray(self.leaves[number])
        return number

    def pick(self, kinds: str = "f", rank: int = 0) -> int:
        """A value of a kind ("f", "i", "b") and at least that rank; recent ones more often."""
        fit = [n for n, x in self.values.items() if kind(x.dtype) in kinds and len(x.shape) >= rank]
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

    def index(self, shape: tuple[int, ...], count: int, least: int) -> int:
        """The number of a new argument of indices, from `least` to before `count`."""
        number = self.new(shape, self.choice(("int64", "int64", "int32")))
        found = self.rng.integers(least, count, shape)
        self.leaves[number] = np.asarray(found, self.leaves[number].dtype)
        self.values[number] = ct.asarray(self.leaves[number])
        self.indices[number] = count
        return number

    def common(self, names: Any) -> Any:
        """One of `names`, seldom one of `LONG`."""
        long = self.chance(0.12)
        return str(self.choice(name for name in names if (name in LONG) == long))

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

INTEGER_PAIRS = ("add", "subtract", "multiply", "maximum", "minimum", "remainder", "floor_divide",
                 "bitwise_and", "bitwise_or", "bitwise_xor")  # fmt: skip
COMPARE = ("less", "less_equal", "equal", "not_equal", "greater", "greater_equal")


def unary(pool: Pool) -> Any:
    op = pool.common(SMOOTH)
    x = pool.pick()
    before = "" if pool.wild else BEFORE.get(op, "")
    return "unary", (x,), {"op": op, "before": before}


def binary(pool: Pool) -> Any:
    op = pool.common(PAIRS)
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
    narrow = ("float16", "bfloat16", "int8", "uint8", "uint16")
    usual = ("float32", "float64", "int32", "int64", "bool", pool.float, pool.float)
    dtype = pool.choice(narrow if pool.chance(0.15) else usual)
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
    if pool.chance(0.25):
        wanted = (*shape[: axis % len(shape)], pool.choice((1, 2, 7)))
        wanted += shape[axis % len(shape) + 1 :]
        return "take_along_axis", (x, pool.index(wanted, count, -count)), {"axis": axis}
    wanted = pool.choice(((), (1,), (3,), (17,), (2, 3), (0,), (40,)))
    return "take", (x, pool.index(wanted, count, -count)), {"axis": axis}


def one_hot(pool: Pool) -> Any:
    count = pool.choice((1, 3, 8, 40))
    return "one_hot", (pool.index(pool.shape(pool.choice((1, 2))), count, 0),), {"classes": count}


def update(pool: Pool, x: int | None = None) -> Any:
    """Set or add rows, by a slice or by indices; of `x` if it is given."""
    x = pool.pick(rank=1) if x is None else x
    shape, dtype = pool.values[x].shape, str(pool.values[x].dtype)
    what = pool.choice(("set", "add"))
    if pool.chance(0.5) or not shape[0]:
        key = tuple(_part(pool, n) for n in shape[: pool.choice((1, len(shape)))])
        inside = np.empty(shape, bool)[key].shape
        return "at slice", (x, pool.new(inside, dtype)), {"key": key, "what": what}
    count = pool.choice((0, 1, 3, 9))
    index = pool.index((count,), shape[0], -shape[0])
    values = pool.new((count, *shape[1:]) if pool.chance(0.7) else shape[1:], dtype)
    return "at rows", (x, values, index), {"what": what}


# -- reductions and the like ------------------------------------------------------------------


def reduce(pool: Pool) -> Any:
    x = pool.pick(pool.choice("ffffi"))
    name = pool.choice(("sum", "sum", "mean", "max", "min", "sum", "mean", "max", "prod"))
    axis = pool.axes(len(pool.values[x].shape)) if pool.chance(0.8) else None
    return name, (x,), {"axis": axis, "keepdims": pool.chance(0.5)}


def along(pool: Pool) -> Any:
    x = pool.pick(rank=1)
    name = pool.choice(("softmax", "log_softmax", "logsumexp", "cumulative_sum", "sort",
                        "normalized", "argmax", "argsort", "std", "unit"))  # fmt: skip
    return name, (x,), {"axis": pool.axis(pool.values[x])}


def ordered(pool: Pool) -> Any:
    """Orders, and what is less often used along an axis."""
    x = pool.pick(pool.choice("fffi"), rank=1)
    shape = pool.values[x].shape
    axis = pool.axis(pool.values[x])
    name = pool.choice(("topk", "topk", "sort", "argsort", "cumulative_sum", "cumulative_prod",
                        "median", "searchsorted", "diff", "repeat"))  # fmt: skip
    if name == "topk":
        k = int(pool.rng.integers(0, shape[axis] + 1))
        attrs = {"k": k, "part": pool.choice((0, 0, 1)), "axis": axis}
        return name, (x,), {**attrs, "largest": pool.chance(0.6)}
    if name == "searchsorted":
        return name, (pool.new((pool.choice((1, 5, 40)),), str(pool.values[x].dtype)), x), {}
    more = {"repeats": pool.choice((0, 1, 2, 3))} if name == "repeat" else {}
    return name, (x,), {**more, "axis": axis}


def layer(pool: Pool) -> Any:
    """Compositions that networks are made of."""
    x = pool.pick(rank=2)
    shape, dtype = pool.values[x].shape, str(pool.values[x].dtype)
    name = pool.choice(("layer_norm", "rms_norm", "dropout", "noise", "cross entropy",
                        "cross entropy", "einsum", "solve", "diagonal", "swapaxes"))  # fmt: skip
    if name == "dropout":
        return name, (x,), {"p": pool.choice((0.1, 0.5))}
    if name == "cross entropy":
        x = x if len(shape) == 2 and shape[1] else pool.new((pool.choice(SIZES), 7), dtype)
        rows, classes = pool.values[x].shape
        index = pool.index((rows,), classes, 0)
        return name, (x, index), {"reduction": pool.choice(("mean", "sum", "none"))}
    if name == "einsum":
        return name, (x, pool.new((*shape[:-2], pool.choice(SIZES), shape[-1]), dtype)), {}
    if name == "solve":
        n = pool.choice((1, 3, 8, 17))
        sides = pool.new((n, n), dtype), pool.new((n, pool.choice((1, 4, 19))), dtype)
        return name, sides, {"upper": pool.chance(0.5), "transpose": pool.chance(0.5)}
    return name, (x,), {"first": -1, "second": 0} if name == "swapaxes" else {}


def transformed(pool: Pool) -> Any:
    """A transformation of a chain of one to three ops."""
    x = pool.pick(rank=1)
    tensor = pool.values[x]
    name = pool.choice(("vmap", "vmap", "checkpoint", "checkpoint", "jvp", "slope", "jit",
                        "vmapped product"))  # fmt: skip
    if name == "vmapped product":
        columns = pool.choice(SIZES)
        return name, (x, pool.new((tensor.shape[-1], columns), str(tensor.dtype))), {}
    chain = tuple(_link(pool) for _ in range(pool.choice((1, 2, 3))))
    if name == "vmap":
        return name, (x,), {"chain": chain, "axis": pool.axis(tensor)}
    if name == "jvp":
        return name, (x, pool.new(tensor.shape, str(tensor.dtype))), {"chain": chain}
    return name, (x,), {"chain": chain}


def _link(pool: Pool) -> tuple[str, dict[str, Any]]:
    """An op of a chain."""
    if pool.chance(0.6):
        op = pool.common(SMOOTH)
        return "unary", {"op": op, "before": BEFORE.get(op, "")}
    name = pool.choice(("sum", "mean", "max", "softmax", "normalized", "cumulative_sum", "sort",
                        "unit", "flip", "log_softmax"))  # fmt: skip
    keep = {"keepdims": pool.chance(0.8)} if name in ("sum", "mean", "max") else {}
    return name, {"axis": -1, **keep}


def deep(pool: Pool) -> Any:
    """A product beyond the sizes of other values, which may be packed."""
    m, k, n = (pool.choice(sizes) for sizes in
               ((1, 7, 14, 29, 60, 130), (33, 64, 128, 300), (9, 16, 33, 64, 200)))  # fmt: skip
    dtype = pool.float
    if pool.chance(0.3):
        return "matmul transposed", (pool.new((m, k), dtype), pool.new((n, k), dtype)), {}
    return "matmul", (pool.new((m, k), dtype), pool.new((k, n), dtype)), {}


def finished(pool: Pool) -> Any:
    """A product with an epilogue, perhaps packed, perhaps of a batch."""
    m, k, n = (pool.choice(sizes) for sizes in
               ((1, 2, 5, 7, 29, 33, 60, 97), (1, 5, 16, 33, 50, 130, 400), (1, 9, 16, 33, 64, 130))
               )  # fmt: skip
    batch = pool.choice(((), (), (), (1,), (3,), (2, 2))) if m * n < 2000 else ()
    x, y = pool.new((*batch, m, k), pool.float), pool.new((k, n), pool.float)
    bias = pool.new(pool.choice(((n,), (n,), (m, 1), (1,), (m, n))), pool.float)
    op = pool.common(SMOOTH)
    how = pool.choice(("", "", "residual", "mask", "twice", "summed", "cast"))
    rest = (pool.new((m, n), pool.float),) if how in ("residual", "mask") else ()
    return "layer", (x, y, bias, *rest), {"op": op, "before": BEFORE.get(op, ""), "how": how}


def product(pool: Pool) -> Any:
    x = pool.pick(rank=1)
    shape, dtype = pool.values[x].shape, str(pool.values[x].dtype)
    columns = pool.choice(SIZES)
    right: tuple[int, ...] = (shape[-1], columns)
    if len(shape) > 2 and pool.chance(0.5):
        right = (pool.choice((1, shape[-3])), *right)
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


# Makers, and how often each is asked.
MAKERS = {
    unary: 8, binary: 8, reduce: 5, move: 6, along: 3, product: 3, gather: 2, update: 2, join: 2,
    pad: 1, triangle: 0.5, integers: 1.5, compare: 1, logic: 0.5, where: 1.5, cast: 1,
    ordered: 2, layer: 2, transformed: 2.5, deep: 0.15, finished: 0.6, one_hot: 0.2,
}  # fmt: skip
