"""Looking inside a model: the output of every layer, and the gradient that flows into it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any, Self

from ..config import STATE
from ..entries import Entry, Shaped
from ..errors import ArgumentError, ArgumentTypeError, TraceError, UnknownKeyError
from ..ops import Primitive
from ..spelling import closest
from ..tensors import Tensor
from ..tree import flatten, unflatten
from ..variables import walk

# What is on now, in all threads; a layer looks here after it has run.
WATCHES: list[Watching] = []


class Seen(Mapping[str, Tensor]):
    """Tensors by the path of the layer. A path that is not there is an `UnknownKeyError`."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._held: dict[str, Tensor] = {}

    def __getitem__(self, path: str) -> Tensor:
        if path not in self._held:
            close = closest(str(path), self._held)
            hint = f"; did you mean {close!r}?" if close else ""
            raise UnknownKeyError(
                f"watch: no {self._what} of a layer {path!r}; there are "
                f"{', '.join(map(repr, self._held)) or 'none yet'}{hint}"
            )
        return self._held[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __repr__(self) -> str:
        rows = ", ".join(f"{path!r}: {x.shape}" for path, x in self._held.items())
        return f"{self._what}s {{{rows}}}"

    def put(self, path: str, value: Tensor) -> None:
        """Hold the values of a tensor, without its graph."""
        self._held[path] = Tensor(value.data)


def _note(g: Any, out: Any, x: Any, path: str, gradients: Seen) -> Any:
    gradients.put(path, g)
    return g


# It is in no registry and never evaluated: it stands on the tape, where the cotangent passes.
_PROBE: Primitive = Primitive(
    "watch",
    "x itself, whose cotangent is noted",
    kind="watch",
    infer=lambda x, path, gradients: (x.shape, x.dtype),
    eval=lambda xp, x, path, gradients: x,
    vjp=(_note,),
    jvp=(lambda t, out, x, path, gradients: t,),
    samples=lambda rng: [],
)


class Watching:
    """What `watch` returns: a context, and what was seen in it.

    Attributes:
        outputs: the output of every layer that was called, by path; "" is the model itself.
        gradients: after a backward pass, the gradient with respect to each of these outputs.
    """

    def __init__(self, model: Any) -> None:
        self.outputs, self.gradients = Seen("output"), Seen("gradient")
        self._model = model
        self._paths = {id(item): path for path, item in walk(model)}
        self._trace: Any = None
        self._thread = 0

    def __enter__(self) -> Self:
        self._trace, self._thread = STATE.trace, threading.get_ident()
        WATCHES.append(self)
        return self

    def __exit__(self, kind: Any, *rest: object) -> None:
        WATCHES.remove(self)
        if kind is None and not self.outputs:
            raise ArgumentError(
                f"watch: no layer of {type(self._model).__name__} was called; if it runs in a "
                "function compiled by ct.jit, put the with statement inside of that function and "
                "return what you want to see"
            )

    def observe(self, layer: Any, result: Any) -> Any:
        """Note the result of a layer; it is returned with probes for its gradients."""
        path = self._paths.get(id(layer))
        if path is None or self._thread != threading.get_ident():
            return result
        if STATE.trace is not self._trace:
            raise TraceError(
                f"watch: the layer {path or type(layer).__name__!r} is called inside of a function "
                "that is compiled, mapped or checkpointed, but the with statement is outside; put "
                "it inside, and return what you want to see"
            )
        leaves, structure = flatten(result)
        name, calls = path, 1
        while name in self.outputs or f"{name}[0]" in self.outputs:
            calls += 1
            name = f"{path}:{calls}"
        names = (
            [name]
            if leaves and leaves[0] is result
            else [f"{name}[{i}]" for i in range(len(leaves))]
        )
        probed = [self._probe(n, x) for n, x in zip(names, leaves, strict=True)]
        return unflatten(structure, iter(probed))

    def _probe(self, path: str, x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        self.outputs.put(path, x)
        entry = x.entry
        if entry is None or not STATE.grad:
            return x
        attrs = {"path": path, "gradients": self.gradients}
        here = Entry(_PROBE, attrs, [Shaped(x.shape, x.dtype)], [entry], None, x.shape, x.dtype)
        return Tensor(x.data, here, x.name)


def watch(model: Any) -> Watching:
    """See the output of every layer of `model`, and the gradient of the loss by it.

    A layer that is called again has the key ``path:2``, ``path:3``, ...; one that returns several
    tensors has ``path[0]``, ``path[1]``, ... What is kept are values: no graph stays alive.

    Works the same inside a function that `ct.jit` compiles: there, return what you want to see.

    Raises:
        ArgumentError: at the end, if no layer was called.
        TraceError: if a layer is called in a compiled, mapped or checkpointed function that begins
            inside of the with statement.

    >>> from cotangent import nn, ones
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> with nn.watch(model) as seen:
    ...     grads = model(ones((4, 2))).sum().backward()
    >>> list(seen.outputs)
    ['0', '1', '']
    >>> seen.gradients["1"].shape
    (4, 3)
    """
    if isinstance(model, Tensor) or callable(getattr(model, "numpy", None)):
        raise ArgumentTypeError(f"watch: takes a model, not {type(model).__name__}")
    return Watching(model)


def observed(layer: Any, result: Any) -> Any:
    """The result of a layer, once every watch that is on has seen it."""
    for one in tuple(WATCHES):
        result = one.observe(layer, result)
    return result
