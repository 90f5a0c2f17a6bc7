"""`vmap`: a function of one example as a function of many, without a loop.

Inside, a tensor stands for one example and its payload is `Batched`: a tensor of the level
around, with the examples along its first axis. Every op goes through its batch rule, which
computes all examples at once by ops of that level. So maps nest, and what is around one (a trace, a
tape) sees ordinary ops.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .dtypes import DType
from .entries import Entry, next_number
from .errors import (
    ArgumentError,
    ArgumentTypeError,
    GradientError,
    ShapeError,
    TraceError,
)
from .functional import broadcast_to
from .gradients import Gradients, reach
from .ops import Primitive
from .ops.batching import rule_of
from .rearrange import moveaxis
from .scopes import Scope
from .shapes import Shape, normalize_axis
from .tensors import Tensor, Variable, lift, tensor
from .tree import flatten, unflatten
from .variables import holds_variables, named_variables


class Batched:
    """The payload of a tensor inside a map.

    Attributes:
        tensor: all examples, along the first axis.
        map: the map that it belongs to.
        shape, dtype: of one example.
    """

    __slots__ = ("tensor", "map", "shape", "dtype")

    maker = "a function mapped by ct.vmap"  # for messages

    def __init__(self, tensor: Tensor, map: Map) -> None:
        self.tensor = tensor
        self.map = map
        self.shape: Shape = tensor.shape[1:]
        self.dtype: DType = tensor.dtype


class Map(Scope):
    """The evaluator inside of a map.

    Variables that were given as mapped arguments are read and written example by example: each
    holds the values of all examples along its first axis.

    Attributes:
        size: the number of examples.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._variables: dict[int, Variable] = {}
        self._leaves: dict[int, Entry] = {}  # those of the variables outside
        self._values: dict[int, Tensor] = {}
        self._written: dict[int, Tensor] = {}

    def __exit__(self, *exc: object) -> None:
        for number, variable in self._variables.items():
            variable.leaf = self._leaves[number]
        super().__exit__(*exc)

    def commit(self) -> None:
        """Assign what was written to mapped variables; to be called outside."""
        for number, value in self._written.items():
            self._variables[number].assign(value)

    # -- values ---------------------------------------------------------------------------

    def enter(self, tensor: Tensor) -> Tensor:
        """`tensor`, which holds the examples along its first axis, as a tensor of one example."""
        return Tensor(Batched(tensor, self), None, tensor.name)

    def leave(self, x: Tensor) -> Tensor:
        """All examples of `x` along a new first axis; it is repeated if they share it."""
        x = x.value if isinstance(x, Variable) else x
        if self.owns(x):
            return x.data.tensor
        return broadcast_to(x, (self.size, *x.shape))

    def owns(self, x: Tensor) -> bool:
        """Whether `x` stands for one example of this map."""
        return type(x.data) is Batched and x.data.map is self

    def apply(self, primitive: Primitive, inputs: Sequence[Tensor], attrs: Any) -> Any:
        batched = [self.owns(x) for x in inputs]
        if not any(batched):
            return super().apply(primitive, inputs, attrs)
        rule = rule_of(primitive)
        if rule is None:
            raise TraceError(f"vmap: the op {primitive.name} has no batch rule")
        primitive.infer(*inputs, **attrs)  # errors show the shapes of one example
        inner = [x.data.tensor if b else x for x, b in zip(inputs, batched, strict=True)]
        with self.outside():
            return Batched(rule(primitive, inner, batched, self.size, attrs), self)

    # -- variables ------------------------------------------------------------------------

    def adopt(self, variable: Variable) -> None:
        """Map `variable`, which holds all examples along its first axis."""
        number = id(variable)
        if number in self._variables:
            return
        with self.outside():
            value = variable.value
        outside = self._leaves[number] = variable.leaf
        inside = Entry(None, None, (), (), None, outside.shape[1:], outside.dtype)
        inside.number, inside.owner = outside.number, outside.owner
        self._variables[number] = variable
        variable.leaf = inside
        self._values[number] = variable.wrap(Batched(Tensor(value.data, value.entry), self))

    def read(self, variable: Variable) -> Tensor:
        value = self._values.get(id(variable))
        return super().read(variable) if value is None else value

    def write(self, variable: Variable, new: Tensor) -> None:
        number = id(variable)
        if number in self._variables:
            with self.outside():
                whole = self.leave(new)
            self._written[number] = whole
            self._values[number] = variable.wrap(Batched(Tensor(whole.data), self))
        elif self.owns(new):
            raise ArgumentError(
                f"vmap: {variable.name or 'a variable'} of shape {variable.shape} is shared by all "
                "examples, so it cannot be assigned values that differ between them; pass what "
                "holds it as an argument with in_axes=0: for models see nn.stack"
            )
        else:
            super().write(variable, new)

    def join(self, parameter: Variable, cells: Sequence[Variable]) -> tuple[int, ...]:
        around = super().join(parameter, cells)
        if id(parameter) not in self._variables:
            return around
        for cell in cells:
            self.adopt(cell)
        return (*around, self.size)


# -- the transformation -----------------------------------------------------------------------


def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """A function that applies `f` to every example at once: an axis of its inputs is mapped.

    ``vmap(f)(xs)[i]`` is ``f(xs[i])``. It nests with `grad`, `jvp`, `jit` and with itself:
    ``vmap(grad(loss))`` gives a gradient for every example.

    A model can be mapped too, if its variables hold the values of several models along their
    first axis (``nn.stack``): inside, it is one model, and what an optimizer assigns to it goes
    to each. Optimizer state is then kept for each model, also without being an argument. Every
    other variable, random generators too, is shared by all examples. While the map runs, no other
    thread may use a mapped model.

    Args:
        f: a function of one example; it may call models and optimizers.
        in_axes: the axis of each argument that is mapped, None for one that all examples
            share; an integer for all arguments, or a tuple with an entry for each. An entry
            may be nested like its argument. A model has 0 or None.
        out_axes: where the axis of the examples is in the results; an integer, or nested like the
            result of `f`. Results that all examples share are repeated.

    Returns:
        A function of the same arguments. Keyword arguments are mapped along axis 0.

    Raises:
        ArgumentError: if nothing is mapped, or an axis does not exist.
        ShapeError: if mapped axes have different sizes.

    >>> from cotangent.transforms import grad
    >>> vmap(grad(lambda x: x * x))([1.0, 2.0, 3.0]).tolist()
    [2.0, 4.0, 6.0]
    >>> vmap(lambda x, c: x * c, in_axes=(0, None))([1.0, 2.0], 10.0).tolist()
    [10.0, 20.0]
    """
    if not callable(f):
        raise ArgumentTypeError(f"vmap takes a function, not {type(f).__name__}")

    @functools.wraps(f, assigned=("__name__", "__qualname__", "__doc__"), updated=())
    def mapped(*args: Any, **kwargs: Any) -> Any:
        args = tuple(_settle(value) for value in args)
        kwargs = {name: _settle(value) for name, value in kwargs.items()}
        arguments = [
            *_pair("in_axes", _axes_of(in_axes, args), args),
            *((0, value) for value in flatten(tuple(kwargs.values()))[0]),
        ]
        leaves = [_Argument(axis, value) for axis, value in arguments]
        size = _common_size(leaves)
        newest = next_number()
        scope = Map(size)
        with scope:
            given = iter([leaf.enter(scope) for leaf in leaves])
            positional = unflatten(flatten(args)[1], given)
            named = unflatten(flatten(tuple(kwargs.values()))[1], given)
            result = f(*positional, **dict(zip(kwargs, named, strict=True)))
        scope.commit()
        outs = _pair("out_axes", out_axes, result)
        left = [_leave(x, axis, scope, newest) for axis, x in outs]
        return unflatten(flatten(result)[1], iter(left))

    return mapped


def _settle(argument: Any) -> Any:
    """An argument, as a tensor if it is a list of numbers, or of lists of them."""
    if isinstance(argument, list) and argument:
        leaves = flatten(argument)[0]
        if leaves and all(isinstance(leaf, (bool, int, float)) for leaf in leaves):
            return tensor(argument)
    return argument


def _axes_of(in_axes: Any, args: tuple[Any, ...]) -> Any:
    if isinstance(in_axes, (tuple, list)):
        if len(in_axes) != len(args):
            raise ArgumentError(
                f"vmap: in_axes={in_axes} has {len(in_axes)} entries for {len(args)} arguments"
            )
        return tuple(in_axes)
    return in_axes


def _pair(what: str, axes: Any, tree: Any) -> list[tuple[Any, Any]]:
    """The leaves of `tree`, each with its axis; one axis stands for all leaves below."""
    return list(_pairs(what, axes, tree))


def _pairs(what: str, axes: Any, tree: Any) -> Iterator[tuple[Any, Any]]:
    whole = axes is None or (hasattr(axes, "__index__") and not isinstance(axes, bool))
    if whole:
        yield from ((axes, leaf) for leaf in flatten(tree)[0])
        return
    if isinstance(axes, dict) and isinstance(tree, dict) and axes.keys() == tree.keys():
        for key, part in tree.items():
            yield from _pairs(what, axes[key], part)
        return
    both = isinstance(axes, (tuple, list)) and isinstance(tree, (tuple, list))
    if not both or len(axes) != len(tree):
        raise ArgumentTypeError(
            f"vmap: {what}={axes!r} must be an integer, None, or nested like what it is for: "
            f"{type(tree).__name__}"
        )
    for axis, part in zip(axes, tree, strict=True):
        yield from _pairs(what, axis, part)


class _Argument:
    """One leaf of the arguments.

    Attributes:
        size: the number of examples, None if they share it.
    """

    def __init__(self, axis: int | None, value: Any) -> None:
        self.size: int | None = None
        self._value = value
        self._axis = axis
        self._variables: list[Variable] = []
        if axis is None or value is None or isinstance(value, (str, bytes)):
            self._axis = None
        elif isinstance(value, Variable):
            self._stacked([("", value)], axis)
        elif not isinstance(value, Tensor) and holds_variables(value):
            self._stacked(named_variables(value), axis)
        else:
            self._tensor(lift(value), axis)

    def _tensor(self, x: Tensor, axis: int) -> None:
        if not x.shape:
            raise ArgumentError(
                "vmap: an argument has no axes, so there is none to map over; share it between "
                "the examples with in_axes=None"
            )
        self._axis = normalize_axis("vmap", axis, x.ndim, x.shape)
        self._value = x
        self.size = x.shape[self._axis]

    def _stacked(self, named: list[tuple[str, Variable]], axis: int) -> None:
        if axis != 0:
            raise ArgumentError(f"vmap: variables are mapped along axis 0, not {axis}")
        for path, variable in named:
            size = variable.shape[0] if variable.shape else None
            if size is None or size != (self.size or size):
                raise ShapeError(
                    f"vmap: {path or variable.name or 'a variable'} of a mapped argument has shape "
                    f"{variable.shape}, but its first axis must be that of the {self.size or ''} "
                    "models; make one model of several with nn.stack, or share it with in_axes=None"
                )
            self.size = size
        self._variables = [variable for _, variable in named]

    def enter(self, scope: Map) -> Any:
        """What the function gets; called inside."""
        if self.size is None:
            return self._value
        if self._variables:
            for variable in self._variables:
                scope.adopt(variable)
            return self._value
        with scope.outside():
            return scope.enter(moveaxis(self._value, self._axis or 0, 0))

    def __repr__(self) -> str:
        return f"{type(self._value).__name__} with {self.size}"


def _common_size(leaves: Sequence[_Argument]) -> int:
    sizes = {leaf.size for leaf in leaves if leaf.size is not None}
    if len(sizes) > 1:
        raise ShapeError(
            "vmap: the mapped axes have different sizes: "
            + ", ".join(map(repr, (x for x in leaves if x.size is not None)))
        )
    if not sizes:
        raise ArgumentError(
            "vmap: no argument is mapped; in_axes must name an axis of at least one"
        )
    return next(iter(sizes))


def _leave(x: Any, axis: Any, scope: Map, newest: int) -> Any:
    """A result outside of the map, with the axis of the examples where it is wanted."""
    if isinstance(x, Gradients):
        return x.map(lambda g: _leave(g, axis, scope, newest))
    if not isinstance(x, Tensor):
        return x
    whole = scope.leave(x)
    if whole.entry is not None and not _matters(whole.entry, newest):
        whole = Tensor(whole.data)
    if axis is None:
        raise ArgumentTypeError("vmap: out_axes must be integers, since results differ by example")
    place = normalize_axis("vmap", axis, whole.ndim, whole.shape)
    return moveaxis(whole, 0, place) if place else whole


def _matters(entry: Entry, newest: int) -> bool:
    """Whether an entry leads to a variable, or to something that was tracked before the map: not
    only to arguments of transformations inside."""
    try:
        sources = [e for e in reach([entry], 0) if e.primitive is None]
    except GradientError:  # consumed; a backward pass from outside will say so
        return True
    return any(e.owner is not None or e.number < newest for e in sources)
