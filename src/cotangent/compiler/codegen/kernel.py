"""Kernels: an emitter with arguments, loops, and masked loads and stores.

A kernel is a function ``void kernel(ptr args, i64 first, i64 last)``. `args` is a row of 8-byte
slots: addresses, sizes, strides and literals, loaded on entry. So one text serves every shape of
the same structure, and a program is a table of kernels with their slots. Where the work is split
(`KernelEmitter.split`), the kernel does the units from `first` to before `last`; any cut gives the
same bits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from ...dtypes import DType, bool_, float32, int32, is_narrow
from ...runtime.digest import fingerprint
from ..graph import Node
from ..ranges import Range
from .access import SCALARS, MemoryEmitter, lane_numbers
from .chunks import NANOSECONDS_PER_BYTE, grain_for
from .emitter import Value

# Half of where floats end.
_END = {"f": 2.0**127, "d": 2.0**1023}
# The end of a range that ordinary numbers come near to; it is compared with, to the bit.
_CLOSE = 2.0

NAME = "kernel"


class Slot(NamedTuple):
    """One argument of a kernel.

    Attributes:
        kind: "address" (of `node`'s memory), "integer", "literal", "status", or "function".
        node: for an address.
        value: the integer, the literal as a NumPy scalar, or the name of the function; "" for 0.
    """

    kind: str
    node: Node | None = None
    value: Any = 0


class Kernel(NamedTuple):
    """A kernel's text, with `name` in it, and the slots of one use of it.

    Attributes:
        checks: whether it may report a bad index.
        flops, bytes: what one run computes and moves, for `explain`.
        extent: into how many units the work can be split; 1 if it cannot.
        grain: how many of them a chunk has, which one thread does; the extent if that is all. It
            depends on shapes and dtypes only.
        nanoseconds: about how long one thread takes.
        after: a function that it calls. Its slots are the last of the kernel's.
    """

    name: str
    text: str
    slots: tuple[Slot, ...]
    checks: bool
    flops: int
    bytes: int
    extent: int
    grain: int
    nanoseconds: int
    after: Kernel | None = None


class KernelEmitter(MemoryEmitter):
    """An `Emitter` for a whole kernel.

    Attributes:
        varying: sizes that are no part of the text, however small (see `Fusion.varying`).
    """

    def __init__(self, lanes: int, varying: Collection[int] = ()) -> None:
        super().__init__(lanes)
        self.varying = varying
        self.checks = False
        self._slots: list[Slot] = []
        self._names: dict[Any, str] = {}
        self._entry: list[str] = []
        self._block = "entry"
        self._extent = 1
        self._calls = False

    # -- arguments ------------------------------------------------------------------------

    def slot(self, slot: Slot, kind: str, role: str = "") -> str:
        """The SSA name of an argument of LLVM type `kind`. Equal slots are passed once, if they are
        of one role: what is equal by chance must not show in the text."""
        key = (slot.kind, id(slot.node), slot.value, role)
        name = None if slot.kind == "literal" else self._names.get(key)
        if name is None:
            name, at = f"%a{len(self._slots)}", 8 * len(self._slots)
            self._entry.append(f"  {name}.p = getelementptr i8, ptr %args, i64 {at}")
            self._entry.append(f"  {name} = load {kind}, ptr {name}.p")
            self._slots.append(slot)
            if slot.kind != "literal":
                self._names[key] = name
        return name

    def address(self, node: Node, offset: int = 0) -> str:
        """The address of the memory of `node`, or of its element number `offset`."""
        start = self.slot(Slot("address", node), "ptr")
        if not offset:
            return start
        return self.offset(start, self.integer(offset, "start"), str(node.dtype.itemsize))

    def scratch(self, size: int) -> str:
        """The address of `size` bytes of the stack."""
        name = self.fresh()
        self._entry.append(f"  {name} = alloca [{size} x i8], align 64")
        return name

    def integer(self, value: int, role: str = "size") -> str:
        """A 64-bit integer argument; `role` says what it is, such as "stride"."""
        return self.slot(Slot("integer", None, value), "i64", role)

    def literal(self, value: Any, dtype: DType) -> Value:
        """A number in every lane: in the text if it is a common one, else as an argument."""
        if dtype == bool_ or is_narrow(dtype) or float(value) in (0.0, 1.0, -1.0, 0.5, 2.0):
            return self.constant(value, dtype)
        scalar = SCALARS.type_of(dtype)
        return self.splat(self.slot(Slot("literal", None, dtype.type(value)), scalar), dtype)

    # -- lanes ----------------------------------------------------------------------------

    def load_along(self, pointer: str, step: int, dtype: DType) -> Value:
        """Elements `step` bytes apart, one a lane; 0 for the same one in every lane."""
        if step == 0 or self.lanes == 1:
            return self.load_one(pointer, dtype)
        if step == dtype.itemsize:
            return self.load(pointer, dtype)
        return self.load_strided(pointer, self.integer(step, "stride"), dtype)

    def across_lanes(self, combine: Callable[[Value, Value], Value], value: Value) -> Value:
        """All lanes combined in lane 0, by halves: the same tree on every machine."""
        width = self.lanes // 2
        while width:
            # No rotation: LLVM 22 can add lane 0 to itself there, if the sum is then used twice.
            moved = (i + width if i < width else "poison" for i in range(self.lanes))
            turn, kind = ", ".join(f"i32 {i}" for i in moved), self.type_of(value.dtype)
            other = self.emit(
                f"shufflevector {kind} {value.text}, {kind} poison, <{self.lanes} x i32> <{turn}>",
                value.dtype,
            )
            value = combine(value, other)
            width //= 2
        return value

    def splat_first(self, value: Value) -> Value:
        """The first lane of `value` in every lane."""
        if self.lanes == 1:
            return value
        kind, zeros = self.type_of(value.dtype), f"<{self.lanes} x i32> zeroinitializer"
        text = f"shufflevector {kind} {value.text}, {kind} poison, {zeros}"
        return self.emit(text, value.dtype)

    def check_range(self, index: Value, size: int) -> Value:
        """`index`; reports a bad index if a lane that counts is outside ``[0, size)``."""
        limit = self.literal(size, index.dtype)
        bad = self.not_(self.lt(index, limit))
        if index.dtype.kind == "i":
            bad = self.or_(bad, self.lt(index, self.zero(index)))
        if self.mask is not None:
            bad = self.and_(bad, self.mask)
        self.report(self._any(bad))
        return index

    def check(self, values: Sequence[tuple[Value, Range | None]]) -> None:
        """Report if a lane that counts of one of `values`, which are floats, is not in the range
        beside it; None stands for all that is finite.

        They go into chains of additions, in their order: what takes longest to compute should be
        the last, so that the rest of a chain does not wait for it.
        """
        wide = [(self.cast(x, float32) if is_narrow(x.dtype) else x, y) for x, y in values]
        for dtype in dict.fromkeys(x.dtype for x, _ in wide):
            of_dtype = [(x, y) for x, y in wide if x.dtype == dtype]
            zero = self.constant(0, dtype)
            free = [x for x, allowed in of_dtype if allowed is None]
            total, sums, outside = zero, zero, []
            for x in free:  # times 0 a number is 0 where it is finite, else NaN
                total = self.fma(x, zero, total)
            for x, allowed in of_dtype:
                if allowed is None:
                    continue
                if allowed.high <= _CLOSE:
                    most = self.constant(allowed.high, dtype)
                    outside.append(self._compare_floats("uge", self.abs(x), most))
                else:
                    # The sum overflows, whatever it is by then, where `x` reaches the end of its
                    # range; and maybe where it reaches a quarter of that.
                    scale = self.constant(_END[dtype.char] / allowed.high * 4, dtype)
                    sums = self.fma(x, scale, sums)
                if allowed.low > -allowed.high:
                    least = self.constant(allowed.low, dtype)
                    outside.append(self._compare_floats("ult", x, least))
            if len(free) < len(of_dtype):
                total = self.fma(sums, zero, total) if free else self.mul(sums, zero)
            bad = functools.reduce(self.or_, outside, self.is_nan(total))
            self.report(self._any(bad if self.mask is None else self.and_(bad, self.mask)))

    def _any(self, flags: Value) -> str:
        """The bit that says whether a lane of the bools `flags` is on."""
        if self.lanes == 1:
            return flags.text
        name, bits = f"@llvm.vector.reduce.or.v{self.lanes}i1", f"<{self.lanes} x i1>"
        self.declarations.add(f"declare i1 {name}({bits})")
        found = self.fresh()
        self.lines.append(f"  {found} = call i1 {name}({bits} {flags.text})")
        return found

    def rarely(
        self, where: Value, usual: Sequence[Value], body: Callable[[], Sequence[Value]]
    ) -> list[Value]:
        """See `Emitter.rarely`; here with a branch."""
        inside = super().rarely
        return self.when(self._any(where), usual, lambda: inside(where, usual, body))

    def report(self, flag: str) -> None:
        """Set the status of the step if the bit `flag` is on."""
        self.checks = True
        status = self.slot(Slot("status"), "ptr")

        def set_it() -> Sequence[Value]:
            # Several threads may have something to report.
            self.lines.append(f"  {self.fresh()} = atomicrmw or ptr {status}, i64 1 monotonic")
            return []

        self.when(flag, [], set_it)

    # -- control --------------------------------------------------------------------------

    def loop(
        self, count: str, step: int, carried: Sequence[Value],
        body: Callable[[str, list[Value]], Sequence[Value]], start: str = "0",
    ) -> list[Value]:  # fmt: skip
        """Run `body` for i = start, start + step, ... below `count`, which must be above `start`.

        `body` gets the name of i and the carried values, and returns their next ones.
        """
        before, head, end = self._block, self._label("loop"), self._label("done")
        self.lines += [f"  br label %{head}", f"{head}:"]
        place = len(self.lines)
        i, following, more = self.fresh(), self.fresh(), self.fresh()
        held = [Value(self.fresh(), v.dtype, v.lanes) for v in carried]
        self._block = head
        after = list(body(i, held))
        self.lines += [
            f"  {following} = add i64 {i}, {step}",
            f"  {more} = icmp ult i64 {following}, {count}",
            f"  br i1 {more}, label %{head}, label %{end}",
            f"{end}:",
        ]
        latch = self._block
        phis = [f"  {i} = phi i64 [{start}, %{before}], [{following}, %{latch}]"]
        for name, first, last in zip(held, carried, after, strict=True):
            kind = self._kind_of(name)
            phis.append(
                f"  {name.text} = phi {kind} [{first.text}, %{before}], [{last.text}, %{latch}]"
            )
        self.lines[place:place] = phis
        self._block = end
        return after

    def when(
        self, flag: str, carried: Sequence[Value], body: Callable[[], Sequence[Value]]
    ) -> list[Value]:
        """Run `body` if the bit `flag` is on; its results, or else `carried`."""
        before, then, end = self._block, self._label("then"), self._label("end")
        self.lines += [f"  br i1 {flag}, label %{then}, label %{end}", f"{then}:"]
        self._block = then
        results = list(body())
        self.lines += [f"  br label %{end}", f"{end}:"]
        merged = []
        for old, new in zip(carried, results, strict=True):
            kind = self._kind_of(new)
            name = self.fresh()
            self.lines.append(
                f"  {name} = phi {kind} [{old.text}, %{before}], [{new.text}, %{self._block}]"
            )
            merged.append(Value(name, new.dtype, new.lanes))
        self._block = end
        return merged

    def _kind_of(self, value: Value) -> str:
        """The LLVM type of a value, which may be a scalar."""
        return (self if value.lanes == self.lanes else SCALARS).type_of(value.dtype)

    def compare(self, order: str, x: str, y: str) -> str:
        """The bit of a comparison of two 64-bit integers."""
        name = self.fresh()
        self.lines.append(f"  {name} = icmp {order} i64 {x}, {y}")
        return name

    def smaller(self, x: str, y: str) -> str:
        """The smaller of two 64-bit integers that are not negative."""
        name, less = self.fresh(), self.compare("ult", x, y)
        self.lines.append(f"  {name} = select i1 {less}, i64 {x}, i64 {y}")
        return name

    def larger(self, x: str, y: str) -> str:
        """The larger of two 64-bit integers that are not negative."""
        name, more = self.fresh(), self.compare("ugt", x, y)
        self.lines.append(f"  {name} = select i1 {more}, i64 {x}, i64 {y}")
        return name

    def first_lanes(self, count: str) -> Value:
        """The mask of the first `count` lanes."""
        narrow = self.fresh()
        self.lines.append(f"  {narrow} = trunc i64 {count} to i32")
        limit = self.splat(narrow, int32).text
        numbers = lane_numbers(self.lanes, "i32")
        return self.emit(f"icmp ult <{self.lanes} x i32> {numbers}, {limit}", bool_)

    def vector_loop(
        self, size: int, carried: Sequence[Value],
        body: Callable[[str, list[Value]], Sequence[Value]], varies: bool = False,
    ) -> list[Value]:  # fmt: skip
        """Run `body` over `size` elements, a vector at a time; the mask is on in the last part.

        Sizes up to 32 are in the text, straight; larger ones are an argument, and so are those in
        `varying`, and any size if it `varies`.
        """
        values = list(carried)
        varies = varies or size in self.varying
        if size <= 32 and not varies:
            for start in range(0, size, self.lanes):
                rest = size - start
                self.mask = None if rest >= self.lanes else self._first_constant(rest)
                values = list(body(str(start), values))
            self.mask = None
            return values
        n = self.integer(size)
        whole = self.compute("and", n, str(-self.lanes))
        if varies:
            values = self.when(
                self.compare("ne", whole, "0"), values,
                lambda: self.loop(whole, self.lanes, carried, body),
            )  # fmt: skip
        else:
            values = self.loop(whole, self.lanes, values, body)
        rest_count = self.compute("sub", n, whole)

        def tail() -> Sequence[Value]:
            self.mask = self.first_lanes(rest_count)
            return body(whole, values)

        values = self.when(self.compare("ne", rest_count, "0"), values, tail)
        self.mask = None
        return values

    def split(self, units: int) -> tuple[str, str]:
        """Let the work be done in parts: which of the `units` to do now, from the first to before
        the last; at least one."""
        self._extent = units
        return "%first", "%last"

    def split_loop(self, count: int, body: Callable[[str], None]) -> None:
        """Run `body` for the i from 0 to before `count` that are to be done now."""
        first, last = self.split(count)
        self.loop(last, 1, [], without_values(body), first)

    def split_vectors(self, size: int) -> Callable[[Callable[[str], None]], None]:
        """Like `vector_loop`, over the elements that are to be done now: a function that writes
        such a loop around a body, as often as it is called. Few elements are not split."""
        if size in self.varying:
            return self._split_varying(size)
        if size <= 32:
            return lambda body: self._straight(size, body)
        parts, width = self.split(size // self.lanes), str(self.lanes)
        start, stop = (self.compute("mul", i, width) for i in parts)
        rest = self.compute("sub", self.integer(size), stop)
        # Past the last whole vector, fewer elements are left than a vector has.
        at_end = self.compare("ult", self.compute("sub", rest, "1"), str(self.lanes - 1))

        def loop(body: Callable[[str], None]) -> None:
            self.loop(stop, self.lanes, [], without_values(body), start)

            def tail() -> Sequence[Value]:
                self.mask = self.first_lanes(rest)
                body(stop)
                return []

            self.when(at_end, [], tail)
            self.mask = None

        return loop

    def _straight(self, size: int, body: Callable[[str], None]) -> None:
        self.vector_loop(size, [], without_values(body))

    def _split_varying(self, size: int) -> Callable[[Callable[[str], None]], None]:
        """See `split_vectors`: here the last unit may be less than a vector, and the only one."""
        n, width = self.integer(size), str(self.lanes)
        start, end = (self.compute("mul", i, width) for i in self.split(-(-size // self.lanes)))
        whole = self.compute("and", n, str(-self.lanes))
        stop = self.smaller(end, whole)

        def loop(body: Callable[[str], None]) -> None:
            def vectors() -> Sequence[Value]:
                return self.loop(stop, self.lanes, [], without_values(body), start)

            def tail() -> Sequence[Value]:
                self.mask = self.first_lanes(self.compute("sub", n, whole))
                body(whole)
                return []

            self.when(self.compare("ult", start, stop), [], vectors)
            self.when(self.compare("ult", n, end), [], tail)
            self.mask = None

        return loop

    def _first_constant(self, count: int) -> Value:
        bits = ", ".join(f"i1 {'true' if i < count else 'false'}" for i in range(self.lanes))
        return Value(f"<{bits}>", bool_, self.lanes)

    def _label(self, word: str) -> str:
        self._count += 1
        return f"{word}{self._count}"

    # -- the result -----------------------------------------------------------------------

    def call_after(self, after: Kernel | None, flag: str, arguments: Sequence[str]) -> None:
        """Call the function `after`, if there is one and the bit `flag` is on, with its slots and
        64-bit `arguments`, the first of which is an address. Whether there is one, and which, is
        no part of the text. The kernel must be finished with the same function."""
        function = self.slot(Slot("function", None, after.name if after else ""), "ptr")
        self._calls = True
        given = ", ".join([f"ptr {arguments[0]}", *(f"i64 {x}" for x in arguments[1:])])

        def do() -> Sequence[Value]:
            self.lines.append(f"  call void {function}(ptr %after, {given})")
            return []

        there = self.fresh()
        self.lines.append(f"  {there} = icmp ne ptr {function}, null")
        both = self.fresh()
        self.lines.append(f"  {both} = and i1 {there}, {flag}")
        self.when(both, [], do)

    def finish(
        self, flops: int, moved: int, nanoseconds: float = 0.0,
        after: Kernel | None = None, parameters: str = "ptr %args, i64 %first, i64 %last",
    ) -> Kernel:  # fmt: skip
        """The kernel. Its name is a hash of its text, so equal kernels are one.

        Args:
            flops, moved: for `explain`; without what a function does that it calls.
            nanoseconds: about how long one thread computes, if not less than to move the bytes.
            after: the function that it calls.
            parameters: of a function that is not called by the driver.
        """
        slots = tuple(self._slots)
        if self._calls:
            self._entry.append(f"  %after = getelementptr i8, ptr %args, i64 {8 * len(slots)}")
        body = "\n".join([*self._entry, *self.lines])
        head = f'define void @{NAME}({parameters}) "no-builtins" nounwind {{'
        text = f"{head}\nentry:\n{body}\n  ret void\n}}\n"
        declared = "\n".join(sorted(self.declarations))
        digest = fingerprint((declared, text), 10)
        name = f"k{digest}"
        renamed = text.replace(f"@{NAME}(", f"@{name}(", 1)
        extent, nanoseconds = self._extent, max(nanoseconds, moved * NANOSECONDS_PER_BYTE)
        checks = self.checks
        if after is not None:
            slots, checks = slots + after.slots, checks or after.checks
            flops, moved = flops + after.flops, moved + after.bytes
            nanoseconds += after.nanoseconds
        return Kernel(
            name, f"{declared}\n{renamed}", slots, checks, flops, moved,
            extent, grain_for(extent, nanoseconds), int(nanoseconds), after,
        )  # fmt: skip


def without_values(
    body: Callable[[str], None],
) -> Callable[[str, list[Value]], Sequence[Value]]:
    """`body` as the body of a loop that carries nothing."""

    def step(i: str, carried: list[Value]) -> Sequence[Value]:
        body(i)
        return carried

    return step


def lanes_for(dtypes: Sequence[DType]) -> int:
    """16 lanes, or 8 where an element of 8 bytes takes part."""
    return 8 if any(dtype.itemsize == 8 for dtype in dtypes) else 16
