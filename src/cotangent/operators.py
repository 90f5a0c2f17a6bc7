"""The operators of tensors, and the methods that are functions too.

They are kept apart from what a tensor is, because they say nothing new: each names an op or a
function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from . import activations, functional, ops, statistics
from .errors import MutationError, ShapeError
from .methods import Methods
from .protocols import NumPyProtocols

if TYPE_CHECKING:
    from .tensors import Tensor


class Operators(Methods, NumPyProtocols):
    """Arithmetic, comparisons and methods: the base of `Tensor`, which has the data."""

    __slots__ = ()

    # -- arithmetic -----------------------------------------------------------------------

    def __add__(self, other: Any) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return ops.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return ops.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ops.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return ops.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return functional.true_divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return functional.true_divide(other, self)

    def __pow__(self, exponent: Any) -> Tensor:
        return functional.power(self, exponent)

    def __rpow__(self, base: Any) -> Tensor:
        return functional.power(base, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return ops.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return ops.remainder(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return functional.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return functional.matmul(other, self)

    def __neg__(self) -> Tensor:
        return ops.negative(self)

    def __pos__(self) -> Tensor:
        return ops.lift(self)

    def __abs__(self) -> Tensor:
        return ops.absolute(self)

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return ops.equal(self, other)

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return ops.not_equal(self, other)

    def __lt__(self, other: Any) -> Tensor:
        return ops.less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return ops.less_equal(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return ops.less(other, self)

    def __ge__(self, other: Any) -> Tensor:
        return ops.less_equal(other, self)

    def __and__(self, other: Any) -> Tensor:
        return _bits(self, ops.bitwise_and, ops.logical_and)(self, other)

    def __or__(self, other: Any) -> Tensor:
        return _bits(self, ops.bitwise_or, ops.logical_or)(self, other)

    def __xor__(self, other: Any) -> Tensor:
        return _bits(self, ops.bitwise_xor, statistics.logical_xor)(self, other)

    def __lshift__(self, count: Any) -> Tensor:
        return ops.bitwise_left_shift(self, count)

    def __rshift__(self, count: Any) -> Tensor:
        return ops.bitwise_right_shift(self, count)

    def __invert__(self) -> Tensor:
        return _bits(self, ops.bitwise_invert, ops.logical_not)(self)

    def __format__(self: Any, spec: str) -> str:
        """As text; a specification such as ``.3f`` is that of the only element."""
        return format(self.item(), spec) if spec else str(self)

    @property
    def T(self: Any) -> Tensor:  # noqa: N802 (the Array API name)
        """A matrix with its two axes exchanged."""
        if self.ndim != 2:
            raise ShapeError(f"T: shape {self.shape} is not a matrix; use mT or permute_dims")
        swapped: Tensor = ops.swap_last(self)
        return swapped

    @property
    def mT(self) -> Tensor:  # noqa: N802 (the Array API name)
        """The tensor with its last two axes exchanged."""
        return functional.matrix_transpose(self)

    # -- methods that are functions too ---------------------------------------------------

    def astype(self, dtype: Any) -> Tensor:
        """The tensor as another dtype: see `ct.astype`."""
        return functional.astype(self, dtype)

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements under another shape: see `ct.reshape`."""
        return functional.reshape(self, shape[0] if len(shape) == 1 else shape)

    def permute_dims(self, *axes: Any) -> Tensor:
        """The axes in another order: see `ct.permute_dims`."""
        return functional.permute_dims(self, axes[0] if len(axes) == 1 else axes)

    def sum(self, axis: Any = None, *, keepdims: bool = False) -> Tensor:
        """The sum over axes: see `ct.sum`."""
        return functional.sum(self, axis, keepdims=keepdims)

    def mean(self, axis: Any = None, *, keepdims: bool = False) -> Tensor:
        """The mean over axes: see `ct.mean`."""
        return functional.mean(self, axis, keepdims=keepdims)

    def max(self, axis: Any = None, *, keepdims: bool = False) -> Tensor:
        """The largest element over axes: see `ct.max`."""
        return functional.max(self, axis, keepdims=keepdims)

    def min(self, axis: Any = None, *, keepdims: bool = False) -> Tensor:
        """The smallest element over axes: see `ct.min`."""
        return functional.min(self, axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
        """Where the largest element is: see `ct.argmax`."""
        return functional.argmax(self, axis, keepdims=keepdims)

    def exp(self) -> Tensor:
        """e**x."""
        return ops.exp(self)

    def log(self) -> Tensor:
        """The natural logarithm."""
        return ops.log(self)

    def sqrt(self) -> Tensor:
        """The square root."""
        return ops.sqrt(self)

    def relu(self) -> Tensor:
        """max(x, 0)."""
        return ops.relu(self)

    def sigmoid(self) -> Tensor:
        """1 / (1 + exp(-x))."""
        return ops.sigmoid(self)

    def tanh(self) -> Tensor:
        """The hyperbolic tangent."""
        return ops.tanh(self)

    def leaky_relu(self, negative_slope: float = 0.01) -> Tensor:
        """x where x > 0, else a fraction of it: see `nn.leaky_relu`."""
        return activations.leaky_relu(self, negative_slope)

    def elu(self, alpha: float = 1.0) -> Tensor:
        """x where x > 0, else ``alpha * (exp(x) - 1)``: see `nn.elu`."""
        return activations.elu(self, alpha)

    def gelu(self, approximate: str = "none") -> Tensor:
        """x times the normal distribution function of x: see `nn.gelu`."""
        return activations.gelu(self, approximate)

    def silu(self) -> Tensor:
        """x * sigmoid(x)."""
        return activations.silu(self)

    def softplus(self) -> Tensor:
        """log(1 + exp(x)), without overflow."""
        return functional.softplus(self)

    def log_softmax(self, axis: int = -1) -> Tensor:
        """Logarithm of the softmax along an axis: see `ct.log_softmax`."""
        return functional.log_softmax(self, axis)

    def softmax(self, axis: int = -1) -> Tensor:
        """The softmax along an axis: see `ct.softmax`."""
        return functional.softmax(self, axis)


def _bits(x: Any, whole: Any, truth: Any) -> Any:
    """The operation on bits for integers, and on truth values for the rest."""
    return whole if x.dtype.kind in "iu" else truth


class Unchangeable:
    """Assignments in place, which a variable refuses: it is changed only by `assign`."""

    __slots__ = ()

    def _refuse_augmented(self, symbol: str) -> NoReturn:
        name = getattr(self, "name", None) or "w"
        raise MutationError(
            f"{name} {symbol}= ...: a variable is changed only by assign; "
            f"write {name}.assign({name} {symbol} ...)"
        )

    def __iadd__(self, other: Any) -> NoReturn:
        self._refuse_augmented("+")

    def __isub__(self, other: Any) -> NoReturn:
        self._refuse_augmented("-")

    def __imul__(self, other: Any) -> NoReturn:
        self._refuse_augmented("*")

    def __itruediv__(self, other: Any) -> NoReturn:
        self._refuse_augmented("/")

    def __ipow__(self, other: Any) -> NoReturn:
        self._refuse_augmented("**")

    def __imatmul__(self, other: Any) -> NoReturn:
        self._refuse_augmented("@")

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        name = getattr(self, "name", None) or "w"
        raise MutationError(
            f"{name}[{key!r}] = ...: a variable is changed only by assign; write "
            f"{name}.assign(...) with the whole new value (shape {getattr(self, 'shape', ())})"
        )
