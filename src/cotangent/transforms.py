"""Transformations of functions: `grad`, `value_and_grad`, `vjp`, `jvp`.

They nest, to any order. What they return is tracked only if it depends on something tracked
outside: a penalty on the gradient of a model can be differentiated with respect to the model,
while the result of a plain ``grad(f)(x)`` keeps no graph alive.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from . import ops
from .checks import whole
from .config import STATE
from .dtypes import is_float
from .entries import Entry, Shaped, leaf
from .errors import ArgumentError, ArgumentTypeError, GradientError, ShapeError
from .functional import broadcast_to
from .gradients import Gradients, Modes, one_like, pull_back, push_forward, reach, require_scalar
from .placement import allocate, home_of, require_same_home
from .tape import scalar_like
from .tensors import Tensor, Variable, lift
from .tree import flatten, map_leaves, unflatten
from .variables import holds_variables, named_variables


def enter(x: Any) -> Tensor:
    """`x` as an argument that is differentiated: a tracked tensor with an entry of its own.

    A tracked `x` stays linked to what it came from, by an identity on the tape (a reshape to its
    own shape), so that an outer transformation sees through.
    """
    x = lift(x)
    x = x.value if isinstance(x, Variable) else x
    if not is_float(x.dtype):
        return x
    if x.entry is None:
        return Tensor(x.data, leaf(x.shape, x.dtype), x.name)
    shaped = [Shaped(x.shape, x.dtype)]
    attrs = {"shape": x.shape}
    same = Entry(ops.find("reshape"), attrs, shaped, [x.entry], None, x.shape, x.dtype)
    return Tensor(x.data, same, x.name)


def leave(tree: Any, own: Sequence[Entry]) -> Any:
    """`tree` with tensors untracked where nothing but the entries in `own` is behind them."""
    inside = {entry.number for entry in own}

    def settle(x: Any) -> Any:
        if not isinstance(x, Tensor) or isinstance(x, Variable) or x.entry is None:
            return x
        foreign = any(e.primitive is None and e.number not in inside for e in reach([x.entry], 0))
        return x if foreign and STATE.grad else Tensor(x.data)

    return map_leaves(settle, tree)


def value_and_grad(
    f: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns the value of `f` and its gradient.

    Args:
        f: a function whose result is a floating-point scalar, or (scalar, anything) with `has_aux`.
        argnums: the argument, or arguments, with respect to which to differentiate.
        has_aux: whether `f` returns a second result that is passed through.

    Returns:
        A function of the same arguments. It returns ``(value, gradient)``, or ``((value, aux),
        gradient)`` with `has_aux`. The gradient is a tensor for an array, `Gradients` for a model
        (or any container of variables), and a tuple of them if `argnums` is a tuple.

    >>> value, slope = value_and_grad(lambda x: x * x)(3.0)
    >>> value.item(), slope.item()
    (9.0, 6.0)
    """
    if not callable(f):
        raise ArgumentTypeError(
            f"grad: the first argument is a function, not {type(f).__name__}; for the gradients "
            "of a loss that is computed already write loss.backward()"
        )
    numbers = argnums if isinstance(argnums, tuple) else (argnums,)
    for number in numbers:
        whole("grad", "argnums (a number, or a tuple of them)", number)

    @functools.wraps(f)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        for n in numbers:
            if not -len(args) <= n < len(args):
                raise ArgumentError(
                    f"value_and_grad: argnums={argnums} but only {len(args)} positional arguments"
                )
        places = [n % len(args) for n in numbers]
        entered = [_enter_argument(args[n]) if n in places else args[n] for n in range(len(args))]
        with Modes(True, deeper=1):
            result = f(*entered, **kwargs)
            value, aux = _split(result) if has_aux else (result, None)
            value = _scalar_result(value)
            targets = [t for n in places for t in _entries(entered[n])]
            found = {}
            if value.entry is not None:
                found = pull_back([(value.entry, one_like(value))], targets, True)
        own = _own_entries(entered, places)
        slopes = [leave(_collect(entered[n], found), own) for n in places]
        value, aux = leave((value, aux), own)
        gradient = tuple(slopes) if isinstance(argnums, tuple) else slopes[0]
        return ((value, aux), gradient) if has_aux else (value, gradient)

    return differentiated


def grad(
    f: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns the gradient of `f`: see `value_and_grad`.

    With `has_aux` it returns ``(gradient, aux)``.

    >>> grad(grad(lambda x: x ** 3))(2.0).item()
    12.0
    """
    both = value_and_grad(f, argnums, has_aux)

    @functools.wraps(f)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return differentiated


def _split(result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise ArgumentTypeError(
            "grad: with has_aux=True the function must return a pair (scalar, anything), "
            f"not {type(result).__name__}"
        )
    return result


def _enter_argument(x: Any) -> Any:
    if not isinstance(x, Tensor) and holds_variables(x):
        return x
    entered = enter(x)
    if entered.entry is None:
        raise GradientError(
            f"grad: the argument has dtype {entered.dtype}, which has no derivative; "
            "pass a float, or choose another argument by argnums"
        )
    return entered


def _entries(argument: Any) -> list[Entry]:
    if isinstance(argument, Tensor):
        return [] if argument.entry is None else [argument.entry]
    return [v.leaf for _, v in named_variables(argument) if v.requires_grad]


def _own_entries(entered: Sequence[Any], places: Sequence[int]) -> list[Entry]:
    """The entries that do not make a result tracked: those of the arguments; and those of a model's
    variables, unless an outer transformation may ask for them."""
    own: list[Entry] = []
    for n in places:
        if isinstance(entered[n], Tensor) or STATE.depth == 0:
            own += _entries(entered[n])
    return own


def _collect(argument: Any, found: dict[int, tuple[Entry, Tensor]]) -> Any:
    if isinstance(argument, Tensor):
        pair = found.get(argument.entry.number) if argument.entry is not None else None
        return pair[1] if pair else _zeros(argument)
    numbers = [entry.number for entry in _entries(argument)]
    return Gradients({n: (found[n][0].owner, found[n][1]) for n in numbers if n in found})


def _zeros(x: Tensor) -> Tensor:
    return broadcast_to(scalar_like(0, x), x.shape)


def _scalar_result(value: Any) -> Tensor:
    if isinstance(value, (bool, int, float)):
        value = lift(value)
    if not isinstance(value, Tensor):
        raise ArgumentTypeError(
            f"grad: the function must return a scalar tensor, not {type(value).__name__}; "
            "for (loss, other) results pass has_aux=True"
        )
    require_scalar("grad", value, "reduce it with .sum() or .mean(), or use ct.vjp")
    return value.value if isinstance(value, Variable) else value


def vjp(f: Callable[..., Any], *xs: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """The value of ``f(*xs)`` and the function that pulls cotangents back.

    Returns:
        ``(y, pullback)``. ``pullback(g)``, with `g` shaped as `y`, returns a tuple as long as
        `xs`: the cotangent of each, or None where that is not floating-point.

    >>> y, pullback = vjp(lambda a, b: a * b, 2.0, 5.0)
    >>> [g.item() for g in pullback(1.0)]
    [5.0, 2.0]
    """
    _require_function("vjp", f)
    entered = [enter(x) for x in xs]
    with Modes(True, deeper=1):
        raw = f(*entered)
    own = [x.entry for x in entered if x.entry is not None]
    outs, structure = flatten(raw)
    outs = [lift(out) for out in outs]

    def pullback(g: Any) -> tuple[Any, ...]:
        given, shape = flatten(g)
        if shape != structure:
            raise ArgumentTypeError("pullback: the cotangent must be nested like the result of f")
        seeds = []
        for out, part in zip(outs, given, strict=True):
            cotangent = _like("pullback", "cotangent", part, out)
            if out.entry is not None:
                seeds.append((out.entry, cotangent))
        with Modes(True, deeper=1):
            found = pull_back(seeds, own, True)
        return tuple(None if x.entry is None else leave(_collect(x, found), own) for x in entered)

    return leave(unflatten(structure, iter(outs)), own), pullback


def _require_function(what: str, f: Any) -> None:
    if not callable(f):
        raise ArgumentTypeError(f"{what}: the first argument is a function, not {type(f).__name__}")


def jvp(f: Callable[..., Any], xs: Sequence[Any], ts: Sequence[Any]) -> tuple[Any, Any]:
    """The value of ``f(*xs)`` and its directional derivative along the tangents `ts`.

    >>> y, t = jvp(lambda x: x * x, (3.0,), (1.0,))
    >>> y.item(), t.item()
    (9.0, 6.0)
    """
    _require_function("jvp", f)
    for name, values in (("arguments", xs), ("tangents", ts)):
        if not isinstance(values, (tuple, list)):
            raise ArgumentTypeError(f"jvp: the {name} are a tuple, not {type(values).__name__}")
    if len(xs) != len(ts):
        raise ArgumentError(f"jvp: {len(xs)} arguments but {len(ts)} tangents; give one for each")
    entered = [enter(x) for x in xs]
    own = [x.entry for x in entered if x.entry is not None]
    with Modes(True, deeper=1):
        raw = f(*entered)
        outs, structure = flatten(raw)
        outs = [lift(out) for out in outs]
        seeds = {
            x.entry.number: _like("jvp", "tangent", t, x)
            for x, t in zip(entered, ts, strict=True)
            if x.entry is not None
        }
        oldest = min(seeds, default=0)
        found = push_forward([out.entry for out in outs], seeds, oldest)
    tangents = [
        found.get(out.entry.number, None) if out.entry is not None else None for out in outs
    ]
    whole = [_zeros(out) if t is None else t for out, t in zip(outs, tangents, strict=True)]
    return (
        leave(unflatten(structure, iter(outs)), own),
        leave(unflatten(structure, iter(whole)), own),
    )


def _like(what: str, role: str, given: Any, x: Tensor) -> Tensor:
    """`given` as a tensor of the dtype of `x`, whose shape it must have, on its backend."""
    t = lift(given)
    home = home_of(x.data)
    if t.follows:
        t = Tensor(allocate(t.data, home))
    if t.shape != x.shape:
        raise ShapeError(
            f"{what}: the {role} has shape {t.shape}, but the value it belongs to has {x.shape}"
        )
    t = require_same_home(what, f"the value of the {role}", home, t)
    return t if t.dtype == x.dtype else t.astype(x.dtype)
