"""Moving a tensor from one backend to another, as an op: gradients move back.

It is in no registry: a backend evaluates it, but knows no other backend, and the compiler, which
is for the CPU, refuses it.
"""

from __future__ import annotations

from typing import Any

from .primitive import Aval, Primitive


def _infer_place(x: Any, source: Any, target: Any) -> Aval:
    return x.shape, x.dtype


def _eval_place(xp: Any, x: Any, source: Any, target: Any) -> Any:
    array = source.to_numpy(x)
    return target.copy_in(array, array.dtype)


def _back(g: Any, out: Any, x: Any, source: Any, target: Any) -> Any:
    return place(g, source=target, target=source)


def _forward(t: Any, out: Any, x: Any, source: Any, target: Any) -> Any:
    return place(t, source=source, target=target)


place: Primitive = Primitive(
    "to",
    "the same values on another backend",
    kind="place",
    infer=_infer_place,
    eval=_eval_place,
    vjp=(_back,),
    jvp=(_forward,),
    samples=lambda rng: [],
)
