"""Loads and stores of vectors: consecutive elements, one in every lane, or a stride apart."""

from __future__ import annotations

import functools

from ...dtypes import DType, bool_, float32, int64, uint8
from ...errors import CompileError
from .emitter import Emitter, Value

# An address space of x86 in which addresses are what they are in the usual one.
_SAME_SPACE = 272
SCALARS = Emitter(1)  # for types of LLVM only
# What is cut off to fewer bits and stored under a mask of one lane, LLVM 22 stores with all of its
# bits on AVX-512, over the neighbour. So it must not see that what is stored was cut off.
OPAQUE = 'call KIND asm "", "=v,0"'


class MemoryEmitter(Emitter):
    """An `Emitter` that reads and writes memory.

    Attributes:
        mask: the lanes that count at this point, or None for all of them.
    """

    def __init__(self, lanes: int) -> None:
        super().__init__(lanes)
        self.mask: Value | None = None

    def splat(self, name: str, dtype: DType) -> Value:
        """The scalar `name` in every lane."""
        if self.lanes == 1:
            return Value(name, dtype, 1)
        vector, scalar = self.type_of(dtype), SCALARS.type_of(dtype)
        first = self.emit(f"insertelement {vector} poison, {scalar} {name}, i64 0", dtype)
        zeros = f"<{self.lanes} x i32> zeroinitializer"
        return self.emit(f"shufflevector {vector} {first.text}, {vector} poison, {zeros}", dtype)

    def compute(self, instruction: str, x: str, y: str) -> str:
        """The result of an instruction on two 64-bit integers."""
        name = self.fresh()
        self.lines.append(f"  {name} = {instruction} i64 {x}, {y}")
        return name

    def offset(self, pointer: str, count: str, stride: str) -> str:
        """`pointer` plus `count` times `stride` bytes."""
        if count == "0":
            return pointer
        unit = "i8"
        if count == "1":
            count = stride
        elif stride.isdigit():  # LLVM multiplies by it
            unit = f"[{stride} x i8]" if stride != "1" else unit
        else:
            count = self.compute("mul", count, stride)
        moved = self.fresh()
        self.lines.append(f"  {moved} = getelementptr {unit}, ptr {pointer}, i64 {count}")
        return moved

    def address_at(self, pointer: str) -> Value:
        """The address as a number, which a loop can carry."""
        name = self.fresh()
        self.lines.append(f"  {name} = ptrtoint ptr {pointer} to i64")
        return Value(name, int64, 1)

    def pointer_to(self, address: Value) -> str:
        """The pointer to an address that is a number."""
        name = self.fresh()
        self.lines.append(f"  {name} = inttoptr i64 {address.text} to ptr")
        return name

    def load(self, pointer: str, dtype: DType) -> Value:
        """Consecutive elements, one a lane; where the mask is off, 0."""
        held = uint8 if dtype == bool_ else dtype
        kind, align = self.type_of(held), held.itemsize
        if self.mask is None:
            value = self.emit(f"load {kind}, ptr {pointer}, align {align}", held)
        else:
            name = f"@llvm.masked.load.v{self.lanes}{_suffix(held)}.p0"
            bits = f"<{self.lanes} x i1>"
            self.declarations.add(f"declare {kind} {name}(ptr, {bits}, {kind})")
            value = self.emit(
                f"call {kind} {name}(ptr align {align} {pointer}, {bits} {self.mask.text}, "
                f"{kind} zeroinitializer)",
                held,
            )
        return self.cast(value, dtype) if dtype == bool_ else value

    def prefetch(self, pointer: str, write: bool = False) -> None:
        """Have the line at `pointer` brought into the cache, to `write` it if so; any address will
        do, and nothing is changed."""
        self.declarations.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.lines.append(
            f"  call void @llvm.prefetch.p0(ptr {pointer}, i32 {int(write)}, i32 3, i32 1)"
        )

    def load_one(self, pointer: str, dtype: DType) -> Value:
        """One element, in every lane."""
        held = uint8 if dtype == bool_ else dtype
        name = self.fresh()
        scalar = SCALARS.type_of(held)
        self.lines.append(f"  {name} = load {scalar}, ptr {pointer}, align {held.itemsize}")
        value = self.splat(name, held)
        return self.cast(value, dtype) if dtype == bool_ else value

    def load_apart(self, pointer: str, dtype: DType, count: int) -> list[Value]:
        """One float in every lane, read `count` times, 3 at most: each by the instruction that
        uses it, where that can read memory.

        Equal loads would be made one, with an instruction of its own; so they differ, in nothing
        that matters: one says that the line will not be needed soon, which means nothing for a
        single element, and one reads by a 64-bit address of another name.
        """
        if count > 3:
            raise CompileError(f"a load has 3 forms, not {count}")
        scalar, align = SCALARS.type_of(dtype), dtype.itemsize
        same = self.fresh()
        self.lines.append(f"  {same} = addrspacecast ptr {pointer} to ptr addrspace({_SAME_SPACE})")
        forms = [
            (f"ptr {pointer}", ""), (f"ptr {pointer}", ", !nontemporal !{i32 1}"),
            (f"ptr addrspace({_SAME_SPACE}) {same}", ""),
        ]  # fmt: skip
        values = []
        for address, said in forms[:count]:
            name = self.fresh()
            self.lines.append(f"  {name} = load {scalar}, {address}, align {align}{said}")
            values.append(self.splat(name, dtype))
        return values

    def load_strided(self, pointer: str, stride: str, dtype: DType) -> Value:
        """Elements `stride` bytes apart, one a lane."""
        held = uint8 if dtype == bool_ else dtype
        kind, bits = self.type_of(held), f"<{self.lanes} x i1>"
        at = self._spaced(pointer, stride)
        name = f"@llvm.masked.gather.v{self.lanes}{_suffix(held)}.v{self.lanes}p0"
        pointers = f"<{self.lanes} x ptr>"
        self.declarations.add(f"declare {kind} {name}({pointers}, {bits}, {kind})")
        mask = "splat (i1 true)" if self.mask is None else self.mask.text
        value = self.emit(
            f"call {kind} {name}({pointers} align {held.itemsize} {at}, {bits} {mask}, "
            f"{kind} zeroinitializer)",
            held,
        )
        return self.cast(value, dtype) if dtype == bool_ else value

    def store_strided(self, value: Value, pointer: str, stride: str) -> None:
        """Elements `stride` bytes apart, one a lane, where the mask is on."""
        held = self.cast(value, uint8) if value.dtype == bool_ else value
        kind, bits = self.type_of(held.dtype), f"<{self.lanes} x i1>"
        at, pointers = self._spaced(pointer, stride), f"<{self.lanes} x ptr>"
        name = f"@llvm.masked.scatter.v{self.lanes}{_suffix(held.dtype)}.v{self.lanes}p0"
        self.declarations.add(f"declare void {name}({kind}, {pointers}, {bits})")
        mask = "splat (i1 true)" if self.mask is None else self.mask.text
        self.lines.append(
            f"  call void {name}({kind} {held.text}, {pointers} align {held.dtype.itemsize} {at}, "
            f"{bits} {mask})"
        )

    def _spaced(self, pointer: str, stride: str) -> str:
        """Addresses `stride` bytes apart, one a lane."""
        steps = self.emit(
            f"mul <{self.lanes} x i64> {lane_numbers(self.lanes, 'i64')}, "
            f"{self.splat(stride, int64).text}",
            int64,
        )
        at = self.fresh()
        self.lines.append(
            f"  {at} = getelementptr i8, ptr {pointer}, <{self.lanes} x i64> {steps.text}"
        )
        return at

    def store(self, value: Value, pointer: str) -> None:
        """Consecutive elements, one a lane, where the mask is on."""
        held = self.cast(value, uint8) if value.dtype == bool_ else value
        kind, align = self.type_of(held.dtype), held.dtype.itemsize
        if self.mask is None:
            self.lines.append(f"  store {kind} {held.text}, ptr {pointer}, align {align}")
            return
        if held.dtype != float32 and held.dtype.itemsize < 8:
            held = self._opaque(held)
        name = f"@llvm.masked.store.v{self.lanes}{_suffix(held.dtype)}.p0"
        bits = f"<{self.lanes} x i1>"
        self.declarations.add(f"declare void {name}({kind}, ptr, {bits})")
        self.lines.append(
            f"  call void {name}({kind} {held.text}, ptr align {align} {pointer}, "
            f"{bits} {self.mask.text})"
        )

    def _opaque(self, x: Value) -> Value:
        """`x`, of which LLVM does not see where it comes from."""
        kind = self.type_of(x.dtype)
        if self.lanes * x.dtype.itemsize == 8:  # too short for a vector register
            word = self.emit(f"bitcast {kind} {x.text} to i64", int64)
            same = self.emit(f'call i64 asm "", "=r,0"(i64 {word.text})', int64)
            return self.emit(f"bitcast i64 {same.text} to {kind}", x.dtype)
        return self.emit(f"{OPAQUE.replace('KIND', kind)}({kind} {x.text})", x.dtype)

    def store_first(self, value: Value, pointer: str) -> None:
        """The first lane as one element."""
        if self.lanes == 1:
            self.store(value, pointer)
            return
        kind, scalar = self.type_of(value.dtype), SCALARS.type_of(value.dtype)
        name = self.fresh()
        self.lines.append(f"  {name} = extractelement {kind} {value.text}, i64 0")
        align = value.dtype.itemsize
        self.lines.append(f"  store {scalar} {name}, ptr {pointer}, align {align}")


@functools.cache
def lane_numbers(lanes: int, kind: str) -> str:
    """The vector constant 0, 1, 2, ..."""
    return "<" + ", ".join(f"{kind} {i}" for i in range(lanes)) + ">"


def _suffix(dtype: DType) -> str:
    return SCALARS._suffix(dtype)
