"""`custom_vjp`: functions whose derivative rule the user states."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from .config import STATE
from .creation import zeros_like
from .dtypes import is_float
from .entries import next_number
from .errors import ArgumentError, ArgumentTypeError, GradientError, ShapeError
from .functional import sum
from .gradients import Modes
from .joint import Call, track
from .mapping import Batched, Map, vmap
from .recompute import inputs_of
from .tensors import Tensor, Variable, lift
from .tree import flatten, unflatten


class custom_vjp:  # noqa: N801 (used as a decorator)
    """A function with a derivative rule of its own, for reverse mode.

    Use it as a decorator, then name the rule with `defvjp`. Use it where the true derivative is
    not what is wanted (a straight-through estimator, a clipped gradient), or where a shorter
    formula is known.

    Args:
        f: a function of tensors, and of anything else that is not differentiated. Its result is a
            tensor or a nesting of them. What is differentiated must be an argument: a
            tracked tensor or variable that the function merely uses is an error.

    Raises:
        GradientError: when it is differentiated without a rule, or forwards (`jvp`), or when
            something tracked enters that is not an argument.

    >>> import cotangent as ct
    >>> @custom_vjp
    ... def rounded(x):
    ...     return ct.round(x)
    >>> rounded.defvjp(lambda x: (ct.round(x), None), lambda saved, g: (g,))
    >>> ct.grad(lambda x: rounded(x) * 3.0)(1.7).item()
    3.0
    """

    def __init__(self, f: Callable[..., Any]) -> None:
        if not callable(f):
            raise ArgumentTypeError(f"custom_vjp takes a function, not {type(f).__name__}")
        functools.update_wrapper(self, f)
        self._f = f
        self._forward: Callable[..., Any] | None = None
        self._backward: Callable[..., Any] | None = None
        self._running: set[int] = set()  # threads in whose forward rule we are

    def defvjp(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """State the rule.

        Args:
            forward: of the same arguments; returns ``(result, saved)``.
            backward: ``backward(saved, g)``, with `g` nested and shaped like the result, returns
                a tuple with a cotangent for each argument, shaped like it, or None. It is
                written with ops on tensors, and is differentiated in turn for higher orders.
        """
        for name, rule in (("forward", forward), ("backward", backward)):
            if not callable(rule):
                raise ArgumentTypeError(f"defvjp: {name} is a function, not {rule!r}")
        self._forward, self._backward = forward, backward

    def __call__(self, *args: Any) -> Any:
        leaves, structure = flatten(args)
        leaves = [x.value if isinstance(x, Variable) else x for x in leaves]
        scope = STATE.trace
        if STATE.grad and isinstance(scope, Map) and any(_tracked_around(x) for x in leaves):
            return self._mapped(scope, leaves, structure)
        inside = threading.get_ident() in self._running  # forward rules may call the function
        if STATE.grad and not inside and any(_tracked(x) for x in leaves):
            return self._recorded(leaves, structure)
        with Modes(inside):
            return self._f(*unflatten(structure, iter(leaves)))

    def _rules(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        if self._forward is None or self._backward is None:
            raise GradientError(
                f"{self._name()} is to be differentiated but has no rule; name one with "
                f"{self._name()}.defvjp(forward, backward)"
            )
        return self._forward, self._backward

    def _name(self) -> str:
        return getattr(self, "__name__", "the function")

    def _recorded(self, leaves: list[Any], structure: Any) -> Any:
        """The call, on the tape as one step."""
        forward, backward = self._rules()
        newest = next_number()
        self._running.add(threading.get_ident())
        try:
            with Modes(True):
                both = forward(*unflatten(structure, iter(leaves)))
        finally:
            self._running.discard(threading.get_ident())
        if not isinstance(both, tuple) or len(both) != 2:
            raise ArgumentTypeError(
                f"{self._name()}: the forward rule must return (result, saved), not "
                f"{type(both).__name__}"
            )
        result, saved = both
        outs, nested = flatten(result)
        outs = [lift(x) for x in outs]
        parents = [x.entry if isinstance(x, Tensor) else None for x in leaves]
        self._refuse_others([*outs, *flatten(saved)[0]], parents, newest)

        def pull(cotangents: dict[int, Tensor]) -> list[Tensor | None]:
            whole = [cotangents.get(i, zeros_like(x)) for i, x in enumerate(outs)]
            given = backward(saved, unflatten(nested, iter(whole)))
            return self._by_leaf(given, leaves, structure)

        call = Call(self._name(), len(leaves), pull, None)
        return unflatten(nested, iter(track(call, parents, outs)))

    def _refuse_others(self, results: list[Any], parents: list[Any], newest: int) -> None:
        known = {entry.number for entry in parents if entry is not None}
        if any(entry.number not in known for entry in inputs_of(results, newest)):
            raise GradientError(
                f"{self._name()}: the result depends on something tracked that is not an argument, "
                "and its rule would lose that gradient; pass it as an argument, or detach() it"
            )

    def _by_leaf(self, given: Any, leaves: list[Any], structure: Any) -> list[Tensor | None]:
        """What the backward rule returned, for each leaf of the arguments."""
        count = len(structure[1])
        if not isinstance(given, (tuple, list)) or len(given) != count:
            raise ArgumentError(
                f"{self._name()}: the backward rule must return a tuple of {count} cotangents, one "
                f"for each argument, not {given!r}"
            )
        found: list[Tensor | None] = []
        rest = list(leaves)
        for part, of in zip(given, structure[1], strict=True):
            inside = flatten(unflatten(of, iter(rest)))[0]
            rest = rest[len(inside) :]
            parts = [None] * len(inside) if part is None else flatten(part)[0]
            if len(parts) != len(inside):
                raise ArgumentError(f"{self._name()}: a cotangent must be nested like its argument")
            found += [self._fitting(p, x) for p, x in zip(parts, inside, strict=True)]
        return found

    def _fitting(self, part: Any, x: Any) -> Tensor | None:
        if part is None or not isinstance(x, Tensor) or not is_float(x.dtype):
            return None
        cotangent = lift(part)
        if cotangent.shape != x.shape:
            raise ShapeError(
                f"{self._name()}: the backward rule returned a cotangent of shape "
                f"{cotangent.shape} for an argument of shape {x.shape}"
            )
        return cotangent if cotangent.dtype == x.dtype else cotangent.astype(x.dtype)

    # -- inside vmap ----------------------------------------------------------------------

    def _mapped(self, scope: Map, leaves: list[Any], structure: Any) -> Any:
        """The call inside of a map around which there is a tape too.

        For that one it is a call of the mapped function, whose rule is the mapped rule.
        """
        owned = [isinstance(x, Tensor) and scope.owns(x) for x in leaves]
        inner = [x.data.tensor if own else x for x, own in zip(leaves, owned, strict=True)]
        with scope.outside():
            result = self._over(owned, structure)(*inner)
        outs, nested = flatten(result)
        outs = [scope.enter(x) for x in outs]
        if any(_tracked(x) for x in leaves):
            parents = [x.entry if isinstance(x, Tensor) else None for x in leaves]

            def pull(cotangents: dict[int, Tensor]) -> list[Tensor | None]:
                forward, backward = self._rules()
                saved = forward(*unflatten(structure, iter(leaves)))[1]
                whole = [cotangents.get(i, zeros_like(x)) for i, x in enumerate(outs)]
                given = backward(saved, unflatten(nested, iter(whole)))
                return self._by_leaf(given, leaves, structure)

            outs = track(Call(self._name(), len(leaves), pull, None), parents, outs)
        return unflatten(nested, iter(outs))

    def _over(self, owned: list[bool], structure: Any) -> custom_vjp:
        """This function and its rule, mapped along the first axes of the arguments in `owned`."""

        def mapped(function: Callable[..., Any]) -> Callable[..., Any]:
            def over(*inner: Any) -> Any:
                given = [x for x, own in zip(inner, owned, strict=True) if own]

                def one(*examples: Any) -> Any:
                    rest = iter(examples)
                    leaves = [next(rest) if own else x for x, own in zip(inner, owned, strict=True)]
                    return function(*unflatten(structure, iter(leaves)))

                return vmap(one)(*given)

            return over

        def backward(saved: Any, g: Any) -> Any:
            leaves, nested = flatten(saved)
            tensors = [x for x in leaves if isinstance(x, Tensor)]

            def one(g: Any, *kept: Any) -> Any:
                rest = iter(kept)
                again = [next(rest) if isinstance(x, Tensor) else x for x in leaves]
                given = self._rules()[1](unflatten(nested, iter(again)), g)
                return tuple(flatten(tuple(given))[0])

            parts = vmap(one)(g, *tensors)
            if len(parts) != len(owned):
                raise ArgumentError(
                    f"{self._name()}: inside vmap the backward rule must return one cotangent, or "
                    "None, for each tensor in the arguments"
                )
            return tuple(
                part if own or part is None else sum(part, axis=0)
                for part, own in zip(parts, owned, strict=True)
            )

        whole = custom_vjp(mapped(self._f))
        whole.__name__ = self._name()  # type: ignore[attr-defined]
        if self._forward is not None:
            whole.defvjp(mapped(self._forward), backward)
        return whole


def _tracked(x: Any) -> bool:
    return isinstance(x, Tensor) and x.entry is not None


def _tracked_around(x: Any) -> bool:
    """Whether a tape around the map sees where `x` came from."""
    if not isinstance(x, Tensor) or type(x.data) is not Batched:
        return False
    return x.data.tensor.entry is not None or _tracked_around(x.data.tensor)
