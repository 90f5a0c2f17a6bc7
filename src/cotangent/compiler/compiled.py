"""`jit`: a function that is traced once for each signature, and then runs as machine code."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np

from ..config import STATE
from ..errors import (
    ArgumentError,
    ArgumentTypeError,
    CompileError,
    Error,
    ShapeError,
    TraceError,
)  # fmt: skip
from ..gradients import Modes
from ..tensors import Tensor, Variable, lift
from ..tree import flatten, unflatten
from ..variables import holds_variables
from ..weak import Number
from .arguments import (
    Placeholder,
    argument_names,
    common_length,
    general_signature,
    kind_of,
    one_slice,
    placeholders,
    refuse_leaked,
    stacked,
    what_varies,
    with_arrays,
)
from .diagnose import diagnose, in_loop
from .entry import Entry, Recent, Traced, recent_call
from .explain import explain_step
from .guards import Guard, captured
from .link import link
from .nans import Watch, is_on
from .profile import Profile, profile_program
from .program import ARENA, Failed, Program
from .results import Rebuild, flat_results
from .staging import Staging
from .through import track_results
from .trace import Trace, run_traced
from .verify import CALLS, Verifying

# Programs kept for one function; those used longest ago go first.
_MOST_PROGRAMS = 64
_RETRACES_BEFORE_WARNING = 16


class Jitted:
    """A function compiled by `jit`. Calling it runs machine code."""

    __name__: str
    __qualname__: str

    is_opaque = True  # a model keeps its compiled methods, but they are no part of it

    def __init__(self, function: Callable[..., Any], verify: int = 0) -> None:
        functools.update_wrapper(self, function, updated=())
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self._function = function
        self._verify = verify
        self._entries: dict[Any, list[Entry]] = {}
        self._traces = 0
        self._warned = False
        self._last: tuple[Any, Any] | None = None
        self._staging = Staging()
        # One attribute, so that another thread's call cannot come between its parts.
        self._recent: Recent | None = None
        self._recent_watched: Recent | None = None
        # Of a method: what it is in the class, of which this is the one of an object.
        self._unbound: Jitted | None = None

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None or not hasattr(self._function, "__get__"):
            return self  # a layer or partial function in a class takes no object either
        name = f"_jitted_{self.__qualname__}"
        bound = _attributes(instance, self.__name__).get(name)
        # A copied object finds its most derived method under every name.
        if bound is None or bound._unbound is not self:
            bound = self.like(self._function.__get__(instance, owner))
            bound._unbound = self
            keep = type.__setattr__ if isinstance(instance, type) else _keep_attribute
            keep(instance, name, bound)
        return bound

    def like(self, function: Callable[..., Any]) -> Jitted:
        """`function` compiled with the settings of this one."""
        return Jitted(function, self._verify)

    def __reduce__(self) -> Any:
        # Copies and pickles refer to it by name: a copied model compiles its methods anew.
        owner = getattr(self._function, "__self__", None)
        return self.__qualname__ if owner is None else (getattr, (owner, self.__name__))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        state = STATE  # of this thread: each look at it takes as long as three attributes
        trace, recent = state.trace, self._recent
        if trace is not None:
            if not isinstance(trace, Watch):
                return self._function(*args, **kwargs)
            recent = self._recent_watched
        grad = state.grad
        try:
            arrays = None if recent is None or kwargs else recent.call(args, grad)
            if arrays is None or recent is None:
                args, kwargs = with_arrays(args, kwargs)
                entry, inputs = self._resolve(args, kwargs)
                program = entry.program if trace is None else self._watched(entry, args, kwargs)
                arrays, before = entry.run(program, inputs)
            else:
                entry, before = recent.entry, ()
        except Failed as failure:
            entry, arrays, before = self._call_again(args, kwargs, failure, trace is not None)
        except TypeError:
            refuse_leaked(self.__name__, args, kwargs)
            raise
        if grad and entry.differentiable:
            return track_results(self, entry, args, kwargs, arrays, before)
        return Tensor(arrays[0]) if entry.single else entry.assemble(map(Tensor, arrays))

    def _call_again(
        self, args: Any, kwargs: Any, failure: Failed, watched: bool
    ) -> tuple[Entry, list[Any], Sequence[Tensor]]:
        """After a call that failed: raise the error, unless all is finite after all, or no op has
        made a NaN or an infinity of finite numbers; then call without looking."""
        with ARENA.lock:  # no other thread changes what is to be found
            entry, inputs = self._resolve(args, kwargs)
            if watched:
                self._recent_watched = None
                with contextlib.suppress(Failed):
                    found = entry.run(self._watching(entry, args, kwargs, trusting=False), inputs)
                    entry.trust = max(0, entry.trust - 1)
                    return entry, *found
            error = self._diagnose(failure, (args, kwargs), inputs, watched)
            if error is not None:
                raise error from None
            return entry, *entry.run(entry.program, inputs)

    def _resolve(self, args: Any, kwargs: Any) -> tuple[Entry, list[Any]]:
        """The program for a call, and the arrays to run it on."""
        key, inputs = self._signature(args, kwargs)
        entry = self._find(key, args, kwargs)
        # Let the next call be compared with this one, if all arguments are arrays.
        self._recent = None
        if not kwargs and all(type(x) in (np.ndarray, Tensor) for x in args):
            self._recent = recent_call(entry, entry.program, STATE.grad, args)
        return entry, inputs

    def _watched(self, entry: Entry, args: Any, kwargs: Any) -> Any:
        """The program for a call while `debug_nans` is on, with which the next one is compared."""
        program = self._watching(entry, args, kwargs, entry.trust > 0)
        plain = self._recent is not None
        self._recent_watched = recent_call(entry, program, STATE.grad, args) if plain else None
        return program

    def _watching(self, entry: Entry, args: Any, kwargs: Any, trusting: bool) -> Any:
        """A program of `entry` that fails where a result would not be finite; or, if `trusting`,
        where a number is of no common size."""
        found = entry.watching.get(trusting)
        if found is None:
            traced = self._trace(*placeholders(args, kwargs))
            found = entry.watching[trusting] = link(
                traced.graph, traced.trace.variables, traced.trace.host_functions, self._staging,
                watch=True, trusting=trusting,
            )  # fmt: skip
        return found

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
        args, _ = with_arrays(args, {})
        leaves, structure = flatten(args)
        arrays = [stacked(leaf) for leaf in leaves]
        times = common_length(arrays)
        if not times:
            raise ShapeError("loop: the arguments have no leading slices to go through")
        # Slices of the same kind as a call would get, so that both use one program.
        first = one_slice(leaves, structure, [array[0] for array in arrays])
        entry, _ = self._resolve(first, {})
        watching = is_on()
        program = entry.program
        if watching:
            program = self._watching(entry, first, {}, entry.trust > 0)
        try:
            results = program.loop(arrays, times)
        except Failed as failure:
            if watching and entry.trust:
                entry.trust = 0
                return self.loop(*args)
            part = [array[failure.iteration] for array in arrays]
            again = unflatten(structure, iter([Tensor(x) for x in part]))
            error = self._diagnose(failure, (again, {}), part, watching)
            if error is not None:
                raise in_loop(error, failure.iteration) from None
            results = self._call_each(leaves, structure, arrays, program)
        return entry.assemble(map(Tensor, results))

    def _call_each(
        self, leaves: list[Any], structure: Any, arrays: list[Any], program: Program
    ) -> list[Any]:
        """What a watched loop gives, by calls, since some of them need not be looked at. If one
        fails, all are undone."""
        written = [program.variables[n] for n in program.written]
        with ARENA.lock:
            before = [np.array(v.peek()) for v in written]
            found: list[list[Any]] = []
            for number, parts in enumerate(zip(*arrays, strict=True)):
                part = one_slice(leaves, structure, parts)
                try:
                    found.append(self._call_again(part, {}, Failed(0), True)[1])
                except Error as error:
                    for variable, array in zip(written, before, strict=True):
                        variable.assign(array)
                    raise in_loop(error, number) from None
        return [np.stack(results) for results in zip(*found, strict=True)]

    def profile(self, *args: Any, seconds: float = 0.2) -> Profile:
        """Time each kernel of a call, and compare it with the machine's limits.

        Args:
            args: as in a call.
            seconds: about how long to repeat the call; at least 3 times.

        Returns:
            A `Profile`: rows with time, FLOPs and bytes of each kernel, their rates, and the
            user's line and layer; ``show()`` and `print` show it as a table. Times are medians,
            measured natively around each kernel. The limits are measured too, once: float32
            multiply-adds in registers, and reading memory that no cache holds, by as many threads.
            All variables are afterwards what they were.

        Raises:
            CompileError: where functions run op by op, for want of machine code.
            BoundsError, ...: as the call would.
        """
        args, _ = with_arrays(args, {})
        traced = self._trace(*placeholders(args, {}))
        program = link(traced.graph, traced.trace.variables, traced.trace.host_functions)
        if not isinstance(program, Program):
            raise CompileError(f"profile: {self.__name__} has no machine code here; see ct.jit")
        inputs = self._signature(args, {})[1]
        try:
            return profile_program(self.__name__, traced.graph, program, inputs, seconds)
        except Failed as failure:
            raise self._diagnose(failure, (args, {}), inputs) from None

    def explain(self, *, passes: bool = False) -> str:
        """What the last signature was compiled to: the graph, the kernels with FLOPs and bytes, the
        size of the arena, and why each fusion stopped.

        Args:
            passes: show what each pass made, too: the graph as it was traced and simplified, what
                was fused, and where every value lives.

        Raises:
            ArgumentError: if the function was not called yet.
        """
        if self._last is None:
            raise ArgumentError(
                "explain: call the function first; it is compiled for its arguments"
            )
        args, kwargs = self._last
        traced = self._trace(*placeholders(args, kwargs))
        return explain_step(self.__name__, traced.graph, passes)

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
                return general_signature(args, kwargs)
        if kwargs:
            return general_signature(args, kwargs)
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
        call = placeholders(args, kwargs)
        traced = self._trace(*call)
        trace = traced.trace
        try:
            program = link(
                traced.graph, trace.variables, trace.host_functions, staging=self._staging
            )
        except BaseException:
            trace.undo()
            raise
        references = captured(self._function)
        for reference in references:
            if holds_variables(reference.value):
                trace.note(reference.value)
        for leaf in flatten((args, kwargs))[0]:
            if kind_of(leaf) == "captured" and not isinstance(leaf, Variable):
                trace.note(leaf)
        used = {id(x) for x in (*trace.roots, *trace.variables)}
        guard = Guard(trace.roots, [x for x in references if id(x.value) in used])
        entry = Entry(program, guard, traced)
        if self._verify and isinstance(program, Program):
            entry.program = Verifying(
                program, traced.graph, trace.host_functions, self._verify, self.__name__, entry.use
            )
        entries = self._entries.setdefault(key, [])
        entries.insert(0, entry)
        del entries[8:]
        while len(self._entries) > _MOST_PROGRAMS:
            del self._entries[next(iter(self._entries))]
        before, self._last = self._last, call
        self._count_traces(before)
        return entry

    def _count_traces(self, before: Any) -> None:
        self._traces += 1
        if self._traces < _RETRACES_BEFORE_WARNING or self._warned:
            return
        self._warned = True
        warnings.warn(
            f"ct.jit has traced {self.__name__} {self._traces} times, most recently because of "
            f"{what_varies(self._function, before, self._last)}; pass arrays of few shapes, and "
            "numbers that change as floats or arrays",
            RuntimeWarning,
            stacklevel=6,
        )

    # -- tracing --------------------------------------------------------------------------

    def _trace(self, args: Any, kwargs: Any, trace: Trace | None = None) -> Traced:
        """Trace the function on placeholders."""
        trace = Trace() if trace is None else trace
        names = argument_names(self._function, args)

        def run() -> Any:
            leaves, structure = flatten((args, kwargs))
            values = []
            for i, leaf in enumerate(leaves):
                if isinstance(leaf, Placeholder):
                    x = trace.argument(leaf.shape, leaf.dtype, names.get(i, f"x{i}"))
                    values.append(Number(x) if leaf.is_number else x)
                else:
                    values.append(leaf)
            real_args, real_kwargs = unflatten(structure, iter(values))
            with Modes(STATE.grad):
                result = self._function(*real_args, **real_kwargs)
            return self._results(trace, result)

        return run_traced(trace, run)

    def _results(self, trace: Trace, result: Any) -> Traced:
        leaves, structure = flat_results(result)
        outputs: list[Tensor] = []
        places: list[int] = []
        kept: list[Any] = []
        for i, leaf in enumerate(leaves):
            if isinstance(leaf, (Tensor, Number)):
                places.append(i)
                outputs.append(lift(leaf))
                kept.append(None)
            elif kind_of(leaf) in ("static", "float", "array") or isinstance(leaf, Rebuild):
                kept.append(leaf)
            else:
                raise TraceError(
                    f"ct.jit: {self.__name__} returns {type(leaf).__name__}; return tensors, "
                    "numbers, Gradients, and containers of them"
                )
        graph = trace.finish(outputs)
        return Traced(graph, trace, structure, kept, places)

    def _diagnose(
        self, failure: Failed, call: tuple[Any, Any], inputs: Sequence[Any], watching: bool = False
    ) -> Any:
        """The error for a call that failed; see `diagnose`."""
        traced = self._trace(*placeholders(*call))
        return diagnose(traced.graph, traced.trace, failure, inputs, self.__name__, watching)


def _attributes(instance: Any, method: str) -> Any:
    """Where an object, or a class, keeps its compiled methods."""
    try:
        return vars(instance)
    except TypeError:
        raise ArgumentTypeError(
            f"ct.jit: the method {method} of {type(instance).__name__}: an object keeps its "
            "compiled methods, and one of a class with __slots__ has no place for them; leave "
            "__slots__ out, or add '__dict__' to it"
        ) from None


def _keep_attribute(instance: Any, name: str, value: Any) -> None:
    """Set an attribute without announcing a change."""
    vars(instance)[name] = value


@overload
def jit(function: Callable[..., Any], *, verify: bool | int = False) -> Jitted:
    """Compile a function."""


@overload
def jit(
    function: None = None, *, verify: bool | int = False
) -> Callable[[Callable[..., Any]], Jitted]:
    """A decorator with settings."""


def jit(function: Callable[..., Any] | None = None, *, verify: bool | int = False) -> Any:
    """Compile `function` when it is called: traced for each new signature, then run natively.

    Args:
        function: any function of tensors. Arrays, tensors and Python floats among its arguments
            are traced, also inside of lists, tuples, dicts, and dataclasses that hold arrays;
            ints, bools, strings, slices, sets and None are constants of the program; models,
            optimizers, variables and all other objects are captured: read and written by identity.
            Closed-over NumPy arrays and Python globals are constants of the trace. Without it, a
            decorator.
        verify: run the first 3 calls of each program (n of them for ``verify=n``) op by op too,
            and raise unless results, new values of variables, and the sums, products and
            gradients on the way agree. They may differ by ``16 eps`` of their largest magnitude
            and 32 times what rounding errors of 2 eps in every op change; where such errors
            change an integer or a bool, it is not compared. False: none.

    Returns:
        A callable with ``loop(*stacked)``, ``explain()`` and ``profile(*args)``. It means the
        same as `function`, to rounding, and gives the same bits every time.

    Raises:
        ArgumentTypeError: if `function` cannot be called.
        ArgumentError: for a negative `verify`.
        TraceError: for control flow on a traced value, and for tensors kept from a trace.
        VerificationError: by a verified call; it names the first op that differs, and no variable
            has changed.

    >>> @jit
    ... def double(x):
    ...     return 2 * x
    >>> double(np.ones(2)).tolist()
    [2.0, 2.0]
    >>> jit(lambda x: x.exp().sum(), verify=True)(np.zeros(3)).item()
    3.0
    """
    times = CALLS if verify is True else int(verify)
    if times < 0:
        raise ArgumentError(
            f"jit: verify says how many calls are verified, and cannot be {verify}; "
            "give True (for 3), a number, or False"
        )
    if function is None:
        return functools.partial(jit, verify=verify)
    if not callable(function):
        raise ArgumentTypeError(
            f"jit: takes a function, not {type(function).__name__}; write ct.jit(f) or @ct.jit"
        )
    return Jitted(function, times)
