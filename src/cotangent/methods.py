"""Methods of tensors that are functions of the roof too: each names one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import functional, indexing, ops, rearrange, sorting, statistics
from .backends import find_backend
from .placement import home_of, moved

if TYPE_CHECKING:
    from .tensors import Tensor


class Methods:
    """The methods beyond arithmetic and the most frequent reductions."""

    __slots__ = ()

    @property
    def backend(self) -> str:
        """The name of the backend that the values are on."""
        return str(home_of(self.data).name)  # type: ignore[attr-defined]

    @property
    def device(self) -> str:
        """The device that the values are on, as its backend names it."""
        return str(home_of(self.data).device)  # type: ignore[attr-defined]

    def to(self, backend: str, device: Any = None) -> Tensor:
        """The same values on another backend; gradients flow back to this one.

        Args:
            backend: "numpy", "torch", or the name of a backend that another package brings.
            device: as that backend names it: for "torch" "cpu" (the default), "cuda", "mps".

        Raises:
            BackendError: if there is no such backend or device, or its package is missing.

        >>> ct.tensor([1.0, 2.0]).to("numpy")
        Tensor([1., 2.], dtype=float32)
        """
        return moved(self, find_backend(backend, device))

    def argmin(self, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
        """Where the smallest element is: see `ct.argmin`."""
        return statistics.argmin(self, axis, keepdims=keepdims)

    def prod(self, axis: Any = None, *, keepdims: bool = False) -> Tensor:
        """The product over axes: see `ct.prod`."""
        return statistics.prod(self, axis, keepdims=keepdims)

    def std(self, axis: Any = None, *, correction: float = 0.0, keepdims: bool = False) -> Tensor:
        """The standard deviation over axes: see `ct.std`."""
        return statistics.std(self, axis, correction=correction, keepdims=keepdims)

    def variance(
        self, axis: Any = None, *, correction: float = 0.0, keepdims: bool = False
    ) -> Tensor:
        """The variance over axes: see `ct.variance`."""
        return statistics.var(self, axis, correction=correction, keepdims=keepdims)

    def any(self, axis: Any = None, *, keepdims: bool = False) -> Tensor:
        """Whether an element is true: see `ct.any`."""
        return statistics.any(self, axis, keepdims=keepdims)

    def all(self, axis: Any = None, *, keepdims: bool = False) -> Tensor:
        """Whether all elements are true: see `ct.all`."""
        return statistics.all(self, axis, keepdims=keepdims)

    def norm(self, axis: Any = None, *, ord: float = 2, keepdims: bool = False) -> Tensor:
        """The norm over axes: see `ct.norm`."""
        return statistics.norm(self, axis, ord=ord, keepdims=keepdims)

    def flatten(self, start_axis: int = 0, end_axis: int = -1) -> Tensor:
        """Several axes joined into one: see `ct.flatten`."""
        return rearrange.flatten(self, start_axis, end_axis)

    def squeeze(self, axis: Any) -> Tensor:
        """Without axes of size 1: see `ct.squeeze`."""
        return functional.squeeze(self, axis)

    def expand_dims(self, axis: int = 0) -> Tensor:
        """With a new axis of size 1: see `ct.expand_dims`."""
        return functional.expand_dims(self, axis)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        """Limited to a range: see `ct.clip`."""
        return functional.clip(self, min, max)

    def split(self, sizes: Any, axis: int = 0) -> list[Tensor]:
        """In parts along an axis: see `ct.split`."""
        return rearrange.split(self, sizes, axis)

    def flip(self, axis: Any = None) -> Tensor:
        """In reverse order: see `ct.flip`."""
        return rearrange.flip(self, axis)

    def sort(self, axis: int = -1, *, descending: bool = False) -> Tensor:
        """Sorted along an axis: see `ct.sort`."""
        return sorting.sort(self, axis, descending=descending)

    def argsort(self, axis: int = -1, *, descending: bool = False) -> Tensor:
        """Indices that sort: see `ct.argsort`."""
        return sorting.argsort(self, axis, descending=descending)

    def cumulative_sum(self, axis: int | None = None) -> Tensor:
        """Running sums along an axis: see `ct.cumulative_sum`."""
        return sorting.cumulative_sum(self, axis)

    def masked_fill(self, mask: Any, value: Any) -> Tensor:
        """With a value where a mask holds: see `ct.masked_fill`."""
        return indexing.masked_fill(self, mask, value)

    def square(self) -> Tensor:
        """x * x."""
        return functional.square(self)

    def abs(self) -> Tensor:
        """The absolute value."""
        return ops.absolute(self)

    def sin(self) -> Tensor:
        """The sine."""
        return ops.sin(self)

    def cos(self) -> Tensor:
        """The cosine."""
        return ops.cos(self)

    def floor(self) -> Tensor:
        """The largest integers that are not above."""
        return ops.floor(self)

    def round(self) -> Tensor:
        """The nearest integers, halves to even."""
        return ops.round(self)
