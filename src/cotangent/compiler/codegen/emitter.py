"""The instruction emitter: LLVM text for straight-line arithmetic on vectors.

An `Emitter` writes one instruction a line and hands out a `Value` for each result. It knows the
element types, not the loops: those are written around it. The text says everything that decides
the bits (explicit `fma`, no fast-math flags, comparisons and selections instead of operations
that differ between instruction sets), so every processor computes the same.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ...dtypes import DType, bool_, float32, float64, is_narrow
from ...errors import DTypeError
from . import functions, narrow, powers, trigonometry

_ELEMENTS: dict[DType, str] = {
    bool_: "i1",
    float32: "float",
    float64: "double",
    **{np.dtype(f"{sign}int{bits}"): f"i{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
_FUNCTIONS = functions.FUNCTIONS | powers.FUNCTIONS | trigonometry.FUNCTIONS
_SUFFIXES = {"float": "f32", "double": "f64"}
_DOUBLE, _QUAD = struct.Struct("<d"), struct.Struct("<Q")


class Value:
    """A value in registers: an SSA name such as ``%v12``, or a constant.

    Attributes:
        text: how an instruction names it, without the type.
        dtype: the dtype of an element.
        lanes: how many elements; 1 is a scalar.
    """

    __slots__ = ("text", "dtype", "lanes")

    def __init__(self, text: str, dtype: DType, lanes: int) -> None:
        self.text = text
        self.dtype = dtype
        self.lanes = lanes

    def __repr__(self) -> str:
        return f"<{self.lanes} x {self.dtype} {self.text}>"


def element_text(value: Any, dtype: DType) -> str:
    """One constant as LLVM writes it; integers wrap to the width of `dtype`.

    >>> element_text(1, np.dtype("float32")), element_text(255, np.dtype("int8"))
    ('0x3FF0000000000000', '-1')
    """
    if is_narrow(dtype):
        return str(np.asarray(value, dtype).view("int16").item())
    if dtype.kind == "f":
        # LLVM writes a float by the bits of the double that equals it. Past the largest
        # float, a constant is infinite.
        with np.errstate(over="ignore"):
            rounded = float(dtype.type(value))
        return f"0x{_QUAD.unpack(_DOUBLE.pack(rounded))[0]:016X}"
    if dtype == bool_:
        return "true" if value else "false"
    bits = 8 * dtype.itemsize
    wrapped = int(value) & ((1 << bits) - 1)
    return str(wrapped - (1 << bits) if wrapped >> (bits - 1) else wrapped)


_number_text = lru_cache(maxsize=1024)(element_text)


class Emitter:
    """Writes instructions on vectors of `lanes` elements; with ``lanes=1``, on scalars.

    Attributes:
        lanes: elements per value.
        lines: the instructions so far, indented by two spaces.
        declarations: a ``declare`` line for each intrinsic that they use.

    Operands of one operation have one dtype. Integers wrap.

    >>> e = Emitter(8)
    >>> x = e.constant(2.0, np.dtype("float32"))
    >>> e.mul(x, x)
    <8 x float32 %v1>
    >>> e.lines[0].strip()[:23]
    '%v1 = fmul <8 x float> '
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.lines: list[str] = []
        self.declarations: set[str] = set()
        self._count = 0
        # By the letter of the dtype, which hashes faster than the dtype.
        self._types: dict[str, str] = {}
        self._intrinsics: dict[tuple[str, str, str, int], str] = {}

    # Text

    def fresh(self) -> str:
        """A new SSA name, unique in this emitter."""
        self._count += 1
        return f"%v{self._count}"

    def emit(self, text: str, dtype: DType) -> Value:
        """Write one instruction; `text` is what stands after ``=``."""
        self._count += 1  # as in `fresh`; this is called for most lines of a kernel
        name = f"%v{self._count}"
        self.lines.append(f"  {name} = {text}")
        return Value(name, dtype, self.lanes)

    def type_of(self, dtype: DType) -> str:
        """The LLVM type of a value in registers; a bool is one bit there.

        >>> Emitter(16).type_of(np.dtype("float32")), Emitter(1).type_of(np.dtype("uint64"))
        ('<16 x float>', 'i64')
        """
        found = self._types.get(dtype.char)
        if found is None:
            element = _element(dtype)
            found = element if self.lanes == 1 else f"<{self.lanes} x {element}>"
            self._types[dtype.char] = found
        return found

    def constant(self, value: Any, dtype: DType) -> Value:
        """The Python or NumPy number `value` in every lane."""
        # 0 and -0.0 are equal keys of the cache, so zeros go around it.
        cached = value and type(value) in (int, float)
        text = (_number_text if cached else element_text)(value, dtype)
        if self.lanes > 1:
            self.type_of(dtype)
            text = f"splat ({_element(dtype)} {text})"
        return Value(text, dtype, self.lanes)

    def zero(self, like: Value) -> Value:
        """0 in the dtype of `like`."""
        return self.constant(0, like.dtype)

    def one(self, like: Value) -> Value:
        """1 in the dtype of `like`."""
        return self.constant(1, like.dtype)

    def intrinsic(self, name: str, dtype: DType, *operands: Value, flag: str = "") -> Value:
        """Call ``llvm.<name>`` on operands of one dtype, for a result of `dtype`.

        Args:
            flag: a last argument that is constant, such as ``i1 false``.
        """
        source = operands[0].dtype
        kind = self.type_of(source)
        key = (name, dtype.char, source.char, len(operands))
        function = self._intrinsics.get(key)
        if function is None:
            function = self._declare(name, dtype, source, len(operands), flag)
            self._intrinsics[key] = function
        arguments = ", ".join([f"{kind} {x.text}" for x in operands])
        return self.emit(f"call {function}({arguments}{', ' if flag else ''}{flag})", dtype)

    def _declare(self, name: str, dtype: DType, source: DType, count: int, flag: str) -> str:
        suffix = self._suffix(dtype) + (f".{self._suffix(source)}" if source != dtype else "")
        function = f"{self.type_of(dtype)} @llvm.{name}.{suffix}"
        kinds = [self.type_of(source)] * count + flag.split()[:1]
        self.declarations.add(f"declare {function}({', '.join(kinds)})")
        return function

    def _suffix(self, dtype: DType) -> str:
        element = _element(dtype)
        scalar = _SUFFIXES.get(element, element)
        return scalar if self.lanes == 1 else f"v{self.lanes}{scalar}"

    def _binary(self, instruction: str, x: Value, y: Value) -> Value:
        return self.emit(f"{instruction} {self.type_of(x.dtype)} {x.text}, {y.text}", x.dtype)

    def _by_kind(self, real: str, whole: str, x: Value, y: Value) -> Value:
        return self._binary(real if x.dtype.kind == "f" else whole, x, y)

    # Arithmetic

    def add(self, x: Value, y: Value) -> Value:
        """x + y."""
        return self._by_kind("fadd", "add", x, y)

    def sub(self, x: Value, y: Value) -> Value:
        """x - y."""
        return self._by_kind("fsub", "sub", x, y)

    def mul(self, x: Value, y: Value) -> Value:
        """x * y."""
        return self._by_kind("fmul", "mul", x, y)

    def div(self, x: Value, y: Value) -> Value:
        """x / y; of integers the floor, and 0 where y is 0."""
        return self._binary("fdiv", x, y) if x.dtype.kind == "f" else self._floor(x, y)

    def _floor(self, x: Value, y: Value) -> Value:
        """Integer division. Dividing by 0, or the least integer by -1, would trap."""
        zero = self.zero(x)
        safe = self.select(self.eq(y, zero), self.one(x), y)
        if x.dtype.kind == "u":
            return self.select(self.eq(y, zero), zero, self._binary("udiv", x, safe))
        flip = self.eq(y, self.constant(-1, x.dtype))
        safe = self.select(flip, self.one(x), safe)
        whole = self._binary("sdiv", x, safe)
        rest = self.sub(x, self.mul(whole, safe))
        below = self.and_(self.ne(rest, zero), self.lt(self.xor(rest, safe), zero))
        whole = self.sub(whole, self.cast(below, x.dtype))
        whole = self.select(flip, self.neg(x), whole)
        return self.select(self.eq(y, zero), zero, whole)

    def neg(self, x: Value) -> Value:
        """-x."""
        if x.dtype.kind != "f":
            return self.sub(self.zero(x), x)
        return self.emit(f"fneg {self.type_of(x.dtype)} {x.text}", x.dtype)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a * b + c, of floats with one rounding."""
        if a.dtype.kind != "f":
            return self.add(self.mul(a, b), c)
        return self.intrinsic("fma", a.dtype, a, b, c)

    def abs(self, x: Value) -> Value:
        """The absolute value."""
        if x.dtype.kind == "f":
            return self.intrinsic("fabs", x.dtype, x)
        if x.dtype.kind == "i":
            return self.intrinsic("abs", x.dtype, x, flag="i1 false")
        return x

    def sqrt(self, x: Value) -> Value:
        """The square root of a float, correctly rounded."""
        return self.intrinsic("sqrt", x.dtype, x)

    def maximum(self, x: Value, y: Value) -> Value:
        """The larger; NaN wins; y where they are equal."""
        return self._extreme(x, y, "ogt", "max")

    def minimum(self, x: Value, y: Value) -> Value:
        """The smaller; NaN wins; y where they are equal."""
        return self._extreme(x, y, "olt", "min")

    def _extreme(self, x: Value, y: Value, order: str, name: str) -> Value:
        if x.dtype.kind != "f":
            signed = "s" if x.dtype.kind == "i" else "u"
            return self.intrinsic(signed + name, x.dtype, x, y)
        # A NaN in y comes out of the first selection, one in x out of the second.
        # llvm.maximum would also order -0 before 0, for three instructions more.
        chosen = self.select(self._compare_floats(order, x, y), x, y)
        return self.select(self.is_nan(x), x, chosen)

    def sign(self, x: Value) -> Value:
        """-1, 0 or 1; NaN stays NaN."""
        zero, one = self.zero(x), self.one(x)
        if x.dtype.kind == "u":
            return self.minimum(x, one)
        minus = self.constant(-1, x.dtype)
        if x.dtype.kind == "i":
            return self.maximum(self.minimum(x, one), minus)
        rest = self.add(x, zero)  # -0 becomes 0, NaN stays
        below = self.select(self.lt(x, zero), minus, rest)
        return self.select(self.lt(zero, x), one, below)

    # Comparison and selection

    def _compare_floats(self, order: str, x: Value, y: Value) -> Value:
        return self.emit(f"fcmp {order} {self.type_of(x.dtype)} {x.text}, {y.text}", bool_)

    def _compare(self, order: str, signs: bool, x: Value, y: Value) -> Value:
        if x.dtype.kind == "f":
            return self._compare_floats(("u" if order == "ne" else "o") + order, x, y)
        prefix = ("s" if x.dtype.kind == "i" else "u") if signs else ""
        return self.emit(f"icmp {prefix}{order} {self.type_of(x.dtype)} {x.text}, {y.text}", bool_)

    def eq(self, x: Value, y: Value) -> Value:
        """x == y; false for NaN."""
        return self._compare("eq", False, x, y)

    def ne(self, x: Value, y: Value) -> Value:
        """x != y; true for NaN."""
        return self._compare("ne", False, x, y)

    def lt(self, x: Value, y: Value) -> Value:
        """x < y; false for NaN."""
        return self._compare("lt", True, x, y)

    def le(self, x: Value, y: Value) -> Value:
        """x <= y; false for NaN."""
        return self._compare("le", True, x, y)

    def is_nan(self, x: Value) -> Value:
        """Whether a float is NaN."""
        return self._compare_floats("uno", x, x)

    def select(self, c: Value, a: Value, b: Value) -> Value:
        """`a` where the bool `c` is true, else `b`."""
        kind = self.type_of(a.dtype)
        condition = f"{self.type_of(bool_)} {c.text}"
        return self.emit(f"select {condition}, {kind} {a.text}, {kind} {b.text}", a.dtype)

    def rarely(
        self, where: Value, usual: Sequence[Value], body: Callable[[], Sequence[Value]]
    ) -> list[Value]:
        """`usual`, but in the lanes `where` what `body` computes; an emitter that has branches
        skips `body` where no lane asks for it, which gives the same bits."""
        pairs = zip(body(), usual, strict=True)
        return [self.select(where, other, value) for other, value in pairs]

    # Bits

    def and_(self, x: Value, y: Value) -> Value:
        """Bitwise and, of bools or integers."""
        return self._binary("and", x, y)

    def or_(self, x: Value, y: Value) -> Value:
        """Bitwise or, of bools or integers."""
        return self._binary("or", x, y)

    def xor(self, x: Value, y: Value) -> Value:
        """Bitwise exclusive or, of bools or integers."""
        return self._binary("xor", x, y)

    def not_(self, x: Value) -> Value:
        """Every bit flipped, of bools or integers."""
        return self.xor(x, self.constant(True if x.dtype == bool_ else -1, x.dtype))

    def shl(self, x: Value, count: Value) -> Value:
        """x shifted left by less than its width."""
        return self._binary("shl", x, count)

    def shr(self, x: Value, count: Value) -> Value:
        """x shifted right by less than its width; a signed x keeps its sign."""
        return self._binary("ashr" if x.dtype.kind == "i" else "lshr", x, count)

    def bitcast(self, x: Value, dtype: DType) -> Value:
        """The bits of x read as another dtype of the same width."""
        return self.emit(
            f"bitcast {self.type_of(x.dtype)} {x.text} to {self.type_of(dtype)}", dtype
        )

    def copysign(self, x: Value, y: Value) -> Value:
        """The magnitude of the float x with the sign of y."""
        return self.intrinsic("copysign", x.dtype, x, y)

    # Conversion

    def cast(self, x: Value, dtype: DType) -> Value:
        """x as `dtype`. Floats to integers truncate and saturate, NaN gives 0; integers to
        narrower ones keep the low bits; to bool is "not 0"; a bool is 0 or 1."""
        if x.dtype == dtype:
            return x
        if is_narrow(x.dtype):
            return self.cast(narrow.widen(self, x), dtype)
        if dtype == bool_:
            return self.ne(x, self.zero(x))
        if is_narrow(dtype):
            return narrow.narrow(self, x, dtype)
        if x.dtype.kind == "f" and dtype.kind in "iu":
            name = "fptosi.sat" if dtype.kind == "i" else "fptoui.sat"
            return self.intrinsic(name, dtype, x)
        instruction = _conversion(x.dtype, dtype)
        return self.emit(
            f"{instruction} {self.type_of(x.dtype)} {x.text} to {self.type_of(dtype)}", dtype
        )

    def check_range(self, index: Value, size: int) -> Value:
        """`index`, checked against ``[0, size)``; where a failure goes is for a subclass to say."""
        raise NotImplementedError("only the emitter of a whole kernel has a status to report to")

    # Functions

    def round(self, how: str, x: Value) -> Value:
        """x rounded to an integer: `how` is "floor", "ceil", "trunc" or "roundeven"."""
        return self.intrinsic(how, x.dtype, x) if x.dtype.kind == "f" else x

    def call(self, name: str, *xs: Value) -> Value:
        """A function of `functions`, `powers` or `trigonometry`, such as "sin"."""
        found: Value = _FUNCTIONS[name](self, *xs)
        return found

    def shift(self, x: Value, count: Value, left: bool) -> Value:
        """x shifted by `count` bits; by its width or more (or less than 0), all bits are gone."""
        width = self.constant(8 * x.dtype.itemsize, x.dtype)
        inside = self.and_(self.lt(count, width), self.le(self.zero(x), count))
        safe = self.select(inside, count, self.zero(x))
        if left:
            return self.select(inside, self.shl(x, safe), self.zero(x))
        signs = self.zero(x)
        if x.dtype.kind == "i":
            last = self.constant(8 * x.dtype.itemsize - 1, x.dtype)
            signs = self.shr(x, last)
        return self.select(inside, self.shr(x, safe), signs)

    def exp(self, x: Value) -> Value:
        """e**x, see `functions.exp`."""
        found: Value = functions.exp(self, x)
        return found

    def log(self, x: Value) -> Value:
        """The natural logarithm, see `functions.log`."""
        found: Value = functions.log(self, x)
        return found

    def tanh(self, x: Value) -> Value:
        """The hyperbolic tangent, see `functions.tanh`."""
        found: Value = functions.tanh(self, x)
        return found

    def logaddexp(self, x: Value, y: Value) -> Value:
        """log(exp(x) + exp(y)), see `functions.logaddexp`."""
        found: Value = functions.logaddexp(self, x, y)
        return found


def _element(dtype: DType) -> str:
    """The LLVM type of an element. Of a narrow float it is the bits: all that compiled code does
    with one is to move it, and to convert it."""
    if is_narrow(dtype):
        return "i16"
    if dtype not in _ELEMENTS:
        raise DTypeError(
            f"compiled code does not compute in {dtype}; "
            "convert with .astype(ct.float32) first, and back at the end"
        )
    return _ELEMENTS[dtype]


def _conversion(source: DType, target: DType) -> str:
    """The LLVM instruction from `source` to another dtype, but not floats to integers, and no
    narrow floats."""
    if source.kind == "f":
        return "fpext" if target.itemsize > source.itemsize else "fptrunc"
    if target.kind == "f":
        return "sitofp" if source.kind == "i" else "uitofp"
    if source == bool_:
        return "zext"
    if source.itemsize == target.itemsize:
        return "bitcast"
    if target.itemsize < source.itemsize:
        return "trunc"
    return "sext" if source.kind == "i" else "zext"
