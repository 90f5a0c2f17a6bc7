"""Python floats among the arguments of a compiled function: known to be numbers, but not which.

Outside of a compiled function a Python float is weak: it takes the dtype of the tensors beside it,
and arithmetic on it alone has the precision of Python. Inside it is a `Number`, and means the same.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from . import ops
from .config import SETTINGS
from .dtypes import DType
from .tensors import Tensor


def _arithmetic(op: Callable[[Any, Any], Any]) -> Callable[[Number, Any], Any]:
    def compute(self: Number, other: Any) -> Any:
        if isinstance(other, Number):
            return Number(op(self.held, other.held))
        if isinstance(other, (int, float)):
            return Number(op(self.held, other))
        if isinstance(other, Tensor):
            return NotImplemented  # the tensor knows what to do with a number
        return op(self.alone(), other)

    return compute


def _reflected(op: Callable[[Any, Any], Any]) -> Callable[[Number, Any], Any]:
    def compute(self: Number, other: Any) -> Any:
        if isinstance(other, (int, float)):
            return Number(op(other, self.held))
        return op(other, self.alone())

    return compute


def _comparison(op: Callable[[Any, Any], Any]) -> Callable[[Number, Any], Any]:
    def compute(self: Number, other: Any) -> Any:
        return op(self.held, other.held if isinstance(other, Number) else other)

    return compute


class Number:
    """A number that is not known yet. Arithmetic with Python numbers gives another one, as
    attributes and methods it has those of a tensor of the default float.

    Args:
        held: its value, a 0-d tensor of float64.
    """

    __slots__ = ("held",)
    __hash__ = object.__hash__
    __array_ufunc__ = None  # so that NumPy's arrays leave arithmetic to this class

    def __init__(self, held: Tensor) -> None:
        self.held = held

    def alone(self, dtype: DType | None = None) -> Tensor:
        """As a tensor; of the default float unless given."""
        return ops.astype(self.held, dtype=SETTINGS.default_float if dtype is None else dtype)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("data", "entry"):  # it is no tensor
            raise AttributeError(name)
        return getattr(self.alone(), name)

    def __repr__(self) -> str:
        return repr(self.alone())

    def __format__(self, spec: str) -> str:
        return format(self.alone(), spec)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.held.numpy()

    def __bool__(self) -> bool:
        return bool(self.held)

    def __float__(self) -> float:
        return float(self.held)

    def __int__(self) -> int:
        return int(self.held)

    def __getitem__(self, key: Any) -> Tensor:
        return self.alone()[key]

    def __neg__(self) -> Number:
        return Number(-self.held)

    def __pos__(self) -> Number:
        return self

    def __abs__(self) -> Number:
        return Number(abs(self.held))

    __add__, __radd__ = _arithmetic(operator.add), _reflected(operator.add)
    __sub__, __rsub__ = _arithmetic(operator.sub), _reflected(operator.sub)
    __mul__, __rmul__ = _arithmetic(operator.mul), _reflected(operator.mul)
    __truediv__, __rtruediv__ = _arithmetic(operator.truediv), _reflected(operator.truediv)
    __floordiv__, __rfloordiv__ = _arithmetic(operator.floordiv), _reflected(operator.floordiv)
    __mod__, __rmod__ = _arithmetic(operator.mod), _reflected(operator.mod)
    __pow__, __rpow__ = _arithmetic(operator.pow), _reflected(operator.pow)
    __matmul__ = _arithmetic(operator.matmul)
    __lt__, __le__ = _comparison(operator.lt), _comparison(operator.le)
    __gt__, __ge__ = _comparison(operator.gt), _comparison(operator.ge)
    __eq__, __ne__ = _comparison(operator.eq), _comparison(operator.ne)
