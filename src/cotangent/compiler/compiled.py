"""`jit`: a function that is traced once for each signature, and then runs as machine code."""

from __future__ import annotations

import enum
import functools
import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..config import EPOCH, SETTINGS, STATE
from ..dtypes import DType, float64
from ..errors import ArgumentError, ArgumentTypeError, Error, ShapeError, TraceError
from ..gradients import Gradients, Modes
from ..shapes import Shape
from ..tensors import Tensor, Variable
from ..tree import LEAF, flatten, unflatten
from ..variables import holds_variables
from .explain import explain_step
from .graph import Graph, Node
from .guards import Guard, captured
from .link import link
from .program import Failed
from .simplify import simplify
from .through import track_results
from .trace import Trace, run_traced

_STATIC = (bool, int, str, bytes, type(None), enum.Enum)
# Programs kept for one function; those used longest ago go first.
_MOST_PROGRAMS = 64
_RETRACES_BEFORE_WARNING = 16


class Traced:
    """A traced call: its graph, and how its results are put together."""

    __slots__ = ("graph", "trace", "structure", "leaves", "places")

    def __init__(
        self, graph: Graph, trace: Trace, structure: Any, leaves: list[Any], places: list[int]
    ) -> None:
        self.graph = graph
        self.trace = trace
        self.structure = structure
        self.leaves = leaves
        self.places = places


class Entry:
    """A compiled signature.

    Attributes:
        program: what runs.
        guard: what the trace depended on.
        structure: the value of ``EPOCH.structure`` at which the guard held.
        results: the tree of the result; its leaves are constants, and tensors at `places`.
        single: whether the result is one tensor.
        differentiable: whether gradients can flow through a call: it writes no variable.
        through: the derivatives, once they were asked for.
    """

    __slots__ = (
        "program", "guard", "structure", "results", "leaves", "places", "single", "differentiable",
        "loose", "through",
    )  # fmt: skip

    def __init__(self, program: Any, guard: Guard, traced: Traced) -> None:
        self.program = program
        self.guard = guard
        self.loose = guard.is_loose
        self.structure = EPOCH.structure
        self.results = traced.structure
        self.leaves = traced.leaves
        self.places = traced.places
        self.single = traced.structure == LEAF and traced.places == [0]
        self.differentiable = not traced.graph.writes
        self.through: Any = None

    def current(self) -> bool:
        """Whether the program still is what the function means."""
        if self.structure == EPOCH.structure:
            return not self.loose or self.guard.loose_parts_hold()
        if not self.guard.holds():
            return False
        self.structure = EPOCH.structure
        return True

    def assemble(self, arrays: Sequence[Any]) -> Any:
        """The result of the function, with `arrays` as its tensors."""
        if self.single:
            return Tensor(arrays[0])
        leaves = list(self.leaves)
        for place, array in zip(self.places, arrays, strict=True):
            leaf = leaves[place]
            leaves[place] = leaf(array) if callable(leaf) else Tensor(array)
        return _rebuild(unflatten(self.results, iter(leaves)))


class Jitted:
    """A function compiled by `jit`. Calling it runs machine code."""

    __name__: str
    __qualname__: str

    is_opaque = True  # a model keeps its compiled methods, but they are no part of it

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function, updated=())
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self._function = function
        self._entries: dict[Any, list[Entry]] = {}
        self._traces = 0
        self._warned = False
        self._last: tuple[Any, Any] | None = None
        self._keep: dict[int, Any] = {}

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        name = f"_jitted_{self._function.__name__}"
        bound = vars(instance).get(name)
        if bound is None:
            bound = Jitted(self._function.__get__(instance, owner))
            vars(instance)[name] = bound
        return bound

    def __reduce__(self) -> Any:
        # Copies and pickles refer to it by name: a copied model compiles its methods anew.
        owner = getattr(self._function, "__self__", None)
        return self.__qualname__ if owner is None else (getattr, (owner, self.__name__))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if STATE.trace is not None:
            return self._function(*args, **kwargs)
        key, inputs = self._signature(args, kwargs)
        entry = self._find(key, args, kwargs)
        try:
            arrays = entry.program.call(inputs)
        except Failed as failure:
            raise self._diagnose(failure, args, kwargs, inputs) from None
        except TypeError:
            _refuse_leaked(self.__name__, args, kwargs)
            raise
        result = entry.assemble(arrays)
        if entry.differentiable and STATE.grad:
            return track_results(self, entry, args, kwargs, result)
        return result

    def loop(self, *args: Any) -> Any:
        """Call the function on each leading slice of `args`, in native code.

        Args:
            args: arrays or tensors of one length; containers of them.

        Returns:
            What the calls return, stacked along a new leading axis.

        Raises:
            BoundsError, ...: as the call would, naming the iteration. Then no variable has changed:
                the whole loop is undone.
        """
        leaves, structure = flatten(args)
        arrays = [_stacked(leaf) for leaf in leaves]
        times = _common_length(arrays)
        if not times:
            raise ShapeError("loop: the arguments have no leading slices to go through")
        first = unflatten(structure, iter([Tensor(array[0]) for array in arrays]))
        key, _ = self._signature(first, {})
        entry = self._find(key, first, {})
        try:
            results = entry.program.loop(arrays, times)
        except Failed as failure:
            part = [array[failure.iteration] for array in arrays]
            again = unflatten(structure, iter([Tensor(x) for x in part]))
            error = self._diagnose(failure, again, {}, part)
            error.add_note(f"in iteration {failure.iteration} of the loop; nothing was changed")
            error.message += f" (iteration {failure.iteration} of loop)"
            raise error from None
        return entry.assemble(results)

    def explain(self) -> str:
        """What the last signature was compiled to: graph, kernels, FLOPs, bytes, arena, and why
        each fusion stopped."""
        if self._last is None:
            raise ArgumentError(
                "explain: call the function first; it is compiled for its arguments"
            )
        args, kwargs = self._last
        traced = self._trace(*_placeholders(args, kwargs))
        return explain_step(self.__name__, simplify(traced.graph))

    # -- signatures -----------------------------------------------------------------------

    def _signature(self, args: Any, kwargs: Any) -> tuple[Any, list[Any]]:
        """What a program is made for, and the arrays to run it on."""
        parts: list[Any] = [STATE.grad]
        inputs: list[Any] = []
        for leaf in args:
            kind = type(leaf)
            if kind is np.ndarray:
                parts += (leaf.dtype.char, leaf.shape)
                inputs.append(leaf)
            elif kind is Tensor:
                data = leaf.data
                parts += (data.dtype.char, data.shape, 0)
                inputs.append(data)
            else:
                return self._general_signature(args, kwargs)
        if kwargs:
            return self._general_signature(args, kwargs)
        return tuple(parts), inputs

    def _general_signature(self, args: Any, kwargs: Any) -> tuple[Any, list[Any]]:
        leaves, structure = flatten((args, kwargs))
        parts: list[Any] = [STATE.grad, structure]
        inputs: list[Any] = []
        for leaf in leaves:
            kind = _kind_of(leaf)
            if kind == "array":
                data = leaf.data if isinstance(leaf, Tensor) else leaf
                parts += (np.asarray(data).dtype.char, np.shape(data), isinstance(leaf, Tensor))
                inputs.append(data)
            elif kind == "float":
                parts.append(float)
                inputs.append(leaf)
            elif kind == "static":
                parts += (type(leaf), leaf)
            else:
                parts.append(id(leaf))
                self._keep[id(leaf)] = leaf
        return tuple(parts), inputs

    def _find(self, key: Any, args: Any, kwargs: Any) -> Entry:
        """The program for a signature: one that is current, or a new one."""
        entries = self._entries.get(key)
        if entries is not None:
            for i, entry in enumerate(entries):
                if entry.current():
                    if i:
                        entries.insert(0, entries.pop(i))  # the next call finds it first
                    return entry
        return self._compile(key, args, kwargs)

    def _compile(self, key: Any, args: Any, kwargs: Any) -> Entry:
        placeholders = _placeholders(args, kwargs)
        traced = self._trace(*placeholders)
        trace = traced.trace
        try:
            program = link(traced.graph, trace.variables, trace.host_functions)
        except BaseException:
            trace.undo()
            raise
        references = captured(self._function)
        for reference in references:
            if holds_variables(reference.value):
                trace.note(reference.value)
        for leaf in flatten((args, kwargs))[0]:
            if _kind_of(leaf) == "captured" and not isinstance(leaf, Variable):
                trace.note(leaf)
        used = {id(x) for x in (*trace.roots, *trace.variables)}
        guard = Guard(trace.roots, [x for x in references if id(x.value) in used])
        entry = Entry(program, guard, traced)
        entries = self._entries.setdefault(key, [])
        entries.insert(0, entry)
        del entries[8:]
        while len(self._entries) > _MOST_PROGRAMS:
            del self._entries[next(iter(self._entries))]
        before, self._last = self._last, placeholders
        self._count_traces(before)
        return entry

    def _count_traces(self, before: Any) -> None:
        self._traces += 1
        if self._traces < _RETRACES_BEFORE_WARNING or self._warned:
            return
        self._warned = True
        warnings.warn(
            f"ct.jit has traced {self.__name__} {self._traces} times, most recently because of "
            f"{_what_varies(self._function, before, self._last)}; pass arrays of few shapes, and numbers that change as "
            "floats or arrays",
            RuntimeWarning,
            stacklevel=5,
        )

    # -- tracing --------------------------------------------------------------------------

    def _trace(self, args: Any, kwargs: Any) -> Traced:
        """Trace the function on placeholders."""
        trace = Trace()
        names = _argument_names(self._function, args)

        def run() -> Any:
            leaves, structure = flatten((args, kwargs))
            values = []
            for i, leaf in enumerate(leaves):
                if isinstance(leaf, Placeholder):
                    values.append(trace.argument(leaf.shape, leaf.dtype, names.get(i, f"x{i}")))
                else:
                    values.append(leaf)
            real_args, real_kwargs = unflatten(structure, iter(values))
            with Modes(STATE.grad):
                result = self._function(*real_args, **real_kwargs)
            return self._results(trace, result)

        return run_traced(trace, run)

    def _results(self, trace: Trace, result: Any) -> Traced:
        leaves, structure = flatten(_flat_results(result))
        outputs: list[Tensor] = []
        places: list[int] = []
        kept: list[Any] = []
        for i, leaf in enumerate(leaves):
            if isinstance(leaf, Tensor):
                places.append(i)
                outputs.append(leaf.value if isinstance(leaf, Variable) else leaf)
                kept.append(None)
            elif _kind_of(leaf) in ("static", "float", "array") or isinstance(leaf, _Rebuild):
                kept.append(leaf)
            else:
                raise TraceError(
                    f"ct.jit: {self.__name__} returns {type(leaf).__name__}; return tensors, "
                    "numbers, Gradients, and containers of them"
                )
        graph = trace.finish(outputs)
        return Traced(graph, trace, structure, kept, places)

    def _diagnose(self, failure: Failed, args: Any, kwargs: Any, inputs: Sequence[Any]) -> Error:
        """Run the failing iteration op by op, to name op, layer and line."""
        traced = self._trace(*_placeholders(args, kwargs))
        graph, trace = traced.graph, traced.trace
        variables = [v.peek() for v in trace.variables]
        if failure.values is not None:
            for (number, _), value in zip(graph.writes, failure.values, strict=True):
                variables[number] = value
        arrays = [
            np.asarray(x, node.dtype) for x, node in zip(inputs, graph.arguments, strict=True)
        ]
        hosts = [
            np.asarray(host.value(), node.dtype)
            for host, node in zip(trace.host_functions, graph.hosts, strict=True)
        ]
        reached: list[Node] = []
        try:
            graph.run(arrays, variables, hosts, lambda node, _: reached.append(node))
        except Error as error:
            error.message += f"\n  in {reached[-1].where()}"
            return error
        return TraceError(
            f"ct.jit: {self.__name__} reported a bad index that running it op by op does not show"
        )


class Placeholder:
    """The shape and dtype of an argument."""

    __slots__ = ("shape", "dtype")

    def __init__(self, shape: Shape, dtype: DType) -> None:
        self.shape = shape
        self.dtype = dtype


def _kind_of(leaf: Any) -> str:
    """How an argument takes part: "array", "float", "static" or "captured"."""
    if isinstance(leaf, Variable):
        return "captured"
    if isinstance(leaf, (Tensor, np.ndarray)):
        return "array"
    if isinstance(leaf, (float, np.floating)):
        return "float"
    if isinstance(leaf, (*_STATIC, np.integer, np.bool_)):
        return "static"
    return "captured"


def _placeholders(args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The arguments with placeholders for what is traced."""
    leaves, structure = flatten((args, kwargs))
    out = []
    for leaf in leaves:
        kind = _kind_of(leaf)
        if kind == "array":
            keep = isinstance(leaf, Tensor) or leaf.dtype.char != float64.char
            dtype = leaf.dtype.newbyteorder("=") if keep else SETTINGS.default_float
            out.append(Placeholder(leaf.shape, dtype))
        elif kind == "float":
            out.append(Placeholder((), SETTINGS.default_float))
        else:
            out.append(leaf)
    return unflatten(structure, iter(out))


def _argument_names(function: Callable[..., Any], args: Any) -> dict[int, str]:
    """Names for the traced arguments, by leaf number, where an argument is one leaf."""
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return {}
    return dict(enumerate(names)) if all(isinstance(a, Placeholder) for a in args) else {}


class _Rebuild:
    """Marks where the variables of `Gradients` go in a flat result."""

    def __init__(self, owners: list[Any]) -> None:
        self.owners = owners


def _flat_results(result: Any) -> Any:
    """`result` with Gradients as dicts, which can be flattened."""
    if isinstance(result, Gradients):
        pairs = list(result.pairs())
        return {"gradients": _Rebuild([p[:2] for p in pairs]), "values": [p[2] for p in pairs]}
    if isinstance(result, dict):
        if any(isinstance(key, Tensor) for key in result):
            raise TraceError("ct.jit: a tensor cannot be a key of a dict that is returned")
        return {key: _flat_results(item) for key, item in result.items()}
    if type(result) in (list, tuple):
        return type(result)(_flat_results(item) for item in result)
    return result


def _refuse_leaked(name: str, args: Any, kwargs: Any) -> None:
    """Raise if an argument is a tensor without values, kept from a trace."""
    for leaf in flatten((args, kwargs))[0]:
        if isinstance(leaf, Tensor) and isinstance(leaf.data, Node):
            raise TraceError(
                f"{name}: a tensor of shape {leaf.shape} that was made inside a function compiled "
                f"by ct.jit, at {leaf.data.source}, has no values outside of it; return it from "
                "that function instead"
            )


def _rebuild(result: Any) -> Any:
    """The inverse of `_flat_results`."""
    if isinstance(result, dict):
        mark = result.get("gradients")
        if isinstance(mark, _Rebuild):
            pairs = zip(mark.owners, result["values"], strict=True)
            return Gradients.of((number, owner, g) for (number, owner), g in pairs)
        return {key: _rebuild(item) for key, item in result.items()}
    if type(result) in (list, tuple):
        return type(result)(_rebuild(item) for item in result)
    return result


def _stacked(leaf: Any) -> np.ndarray[Any, Any]:
    if isinstance(leaf, Tensor):
        return leaf.numpy()
    if isinstance(leaf, np.ndarray):
        is_double = leaf.dtype.char == float64.char
        return leaf.astype(SETTINGS.default_float) if is_double else leaf
    raise ArgumentTypeError(
        f"loop: every argument must be an array or tensor with a leading axis, not "
        f"{type(leaf).__name__}; repeat a constant for each iteration, or close over it"
    )


def _common_length(arrays: Sequence[Any]) -> int:
    for array in arrays:
        if not array.ndim:
            raise ShapeError("loop: an argument of shape () has no leading axis to go through")
    lengths = [array.shape[0] for array in arrays]
    if not lengths:
        raise ArgumentError("loop: give at least one array; its length is the number of calls")
    if len(set(lengths)) > 1:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ShapeError(f"loop: the arguments have different lengths; shapes {shapes}")
    return int(lengths[0])


def _what_varies(function: Callable[..., Any], before: Any, now: Any) -> str:
    """The argument that differs between the last two traces."""
    old, new = (_named_arguments(function, *call) for call in (before, now))
    for name in [*new, *old]:
        a, b = old.get(name, "absent"), new.get(name, "absent")
        if a != b:
            return f"the argument {name}, which was {a} and then {b}"
    return "a changed layer, mode or setting"


def _named_arguments(function: Callable[..., Any], args: Any, kwargs: Any) -> dict[str, str]:
    """What each argument was traced for, by its name."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        bound = dict(enumerate(args)) | kwargs
    return {f"{name!s}": ", ".join(map(_described, flatten(x)[0])) for name, x in bound.items()}


def _described(leaf: Any) -> str:
    return f"{leaf.dtype}{leaf.shape}" if isinstance(leaf, Placeholder) else repr(leaf)


def jit(function: Callable[..., Any]) -> Jitted:
    """Compile `function` when it is called: traced for each new signature, then run natively.

    Args:
        function: any function of tensors. Arrays, tensors and Python floats among its arguments
            are traced; ints, bools, strings and None are constants of the program; models,
            optimizers and variables are captured: read and written by identity. Closed-over NumPy
            arrays and Python globals are constants of the trace.

    Returns:
        A callable with ``loop(*stacked)`` and ``explain()``. It means the same as
        `function`, to rounding, and gives the same bits every time.

    Raises:
        TraceError: for control flow on a traced value, and for tensors kept from a trace.

    >>> @jit
    ... def double(x):
    ...     return 2 * x
    >>> double(np.ones(2)).tolist()
    [2.0, 2.0]
    """
    return Jitted(function)
