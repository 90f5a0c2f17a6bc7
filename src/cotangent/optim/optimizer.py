"""Optimizers: rules that turn a parameter and its gradient into the parameter's next value.

An optimizer is two short methods, `init` and `update`. The base class keeps the state, per
parameter and in variables, so that a compiled step can read and write it; walks models; and, in
eager work, updates small parameters of equal settings as one flat vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from .. import ops
from ..backends import backend_of
from ..config import EPOCH, STATE
from ..dtypes import DType, float32, is_float, is_narrow
from ..errors import (
    ArgumentError,
    ArgumentTypeError,
    ShapeError,
    TraceError,
    UnknownKeyError,
)
from ..gradients import Gradients
from ..scopes import is_eager
from ..tensors import Tensor, Variable, lift
from ..variables import named_variables
from ..weak import Number
from .flat import Live, Plan
from .hyper import settled
from .state import Choice, Memory

State = dict[str, Tensor]
Hyper = Callable[..., Any]


class Optimizer:
    """The base of optimizers. A subclass defines `init` and `update`.

    Hyperparameters are attributes; a change takes effect at the next step, also in a
    compiled one, which it does not recompile. The learning rate may be a function of the number of
    updates that a parameter has had: ``lr=lambda step: 0.1 * 0.99**step``. `group` gives some
    parameters settings of their own.

    Attributes:
        groups: what `group` returned, in that order.
    """

    announces_changes = True
    settings_are_inputs = True  # to compiled steps: numbers reach them without a new trace
    groups: tuple[Optimizer, ...]
    _memory: Memory
    _plan: Plan | None
    _parent: Optimizer | None
    _choice: Choice | None
    lr: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = object.__new__(cls)
        made._prepare(Memory(), None, None)
        return made

    def _prepare(self, memory: Memory, parent: Any, choice: Choice | None) -> None:
        own = {"_memory": memory, "_plan": None, "_parent": parent, "_choice": choice, "groups": ()}
        for name, value in own.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, self.check(name, value))
        self._memory.version += 1
        EPOCH.restructure()

    def __getattr__(self, name: str) -> Any:
        """A setting that a group does not have of its own: its optimizer's."""
        parent = None if name.startswith("_") else vars(self).get("_parent")
        if parent is None:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(parent, name)

    # -- what a subclass defines ----------------------------------------------------------

    def check(self, name: str, value: Any) -> Any:
        """`value` as hyperparameter `name` holds it; raises `ArgumentError` outside its range."""
        if name == "lr" and callable(value):
            return value
        if name in ("lr", "weight_decay", "eps"):
            return self._number(name, value)
        return value

    def init(self, parameter: Tensor) -> State:
        """The state of a parameter before its first update, beside the step count."""
        raise NotImplementedError(f"{type(self).__name__} does not define init")

    def update(
        self, xp: Any, value: Any, gradient: Any, state: dict[str, Any], hyper: Hyper
    ) -> tuple[Any, dict[str, Any]]:
        """The next value of a parameter and its next state.

        It is called with the values of one parameter, or of several as one vector, so it must
        work element by element. It must use nothing but operators and functions of `xp`: eager
        work passes the backend's arrays, which saves a third of a small step, a trace tensors.
        Neither may be changed in place, so no ``+=``.

        Args:
            xp: the array module of the backend; under a trace, the ops.
            value: the parameter's value, untracked.
            gradient: of the same shape and dtype.
            state: what `init` returned, updated since; numbers below 2**-126 have become 0.
            hyper: ``hyper("lr")`` is a hyperparameter, ``hyper(name, function)`` the host's
                ``function(hyperparameter)``: a number, or a scalar of the compiled step.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define update")

    # -- steps ----------------------------------------------------------------------------

    def step(self, target: Any, gradients: Any, lr: Any = None) -> None:
        """Update one parameter, or every parameter of a model.

        Frozen parameters, and those without a gradient, are skipped with their state. Models that
        are trained as one (``nn.stack``) are updated inside `ct.vmap`.

        Args:
            target: a variable; or a module, or any container or object that holds variables.
            gradients: for a variable its gradient, a tensor of its shape; for a model the
                `Gradients` that ``loss.backward()`` returned.
            lr: the learning rate of this step, a number or a 0-d tensor, in place of the
                optimizer's; groups with a learning rate of their own keep it.

        Raises:
            ShapeError: if a gradient has another shape than its parameter.
            ArgumentTypeError: if `target` and `gradients` do not go together.
        """
        if isinstance(target, Variable):
            live = self._single(target, gradients)
        else:
            live = self._live(target, gradients)
        if STATE.trace is not None:
            STATE.trace.note(target)
        given = {} if lr is None else {"lr": self._rate(lr)}
        if not self.groups:
            self._update(live, given)
            return
        for chosen, part in self._split(live):
            chosen._update(part, {} if "lr" in vars(chosen) and chosen is not self else given)

    def _rate(self, lr: Any) -> Any:
        """A learning rate for one step: a number in range, or a 0-d tensor."""
        if isinstance(lr, Number):
            return lr
        if not isinstance(lr, Tensor):
            return self._number("lr", lr)
        if lr.shape != () or not is_float(lr.dtype):
            raise ShapeError(
                f"{self._name()}.step: lr must be one floating-point number, not a tensor of "
                f"{lr.dtype} of shape {lr.shape}; inside ct.vmap map it with the models"
            )
        return lr.detach()

    def _update(self, live: Live, given: dict[str, Any]) -> None:
        """Update parameters that have the settings of this object, or those that are given."""
        if is_eager():
            live = self._flat(live, given)
        else:
            STATE.trace.note(self)
        self._each(live, given)

    def _single(self, target: Variable, gradient: Any) -> Live:
        if isinstance(gradient, Gradients):
            gradient = gradient.wrt(target)
        gradient = lift(gradient)
        if not target.requires_grad:
            return []
        if gradient.shape != target.shape:
            raise _wrong_gradient(target.name or "the parameter", target, gradient)
        return [(target, gradient)]

    def _live(self, model: Any, gradients: Any) -> Live:
        """The parameters of `model` that are to be updated, with their gradients."""
        if not isinstance(gradients, Gradients):
            raise ArgumentTypeError(
                f"{self._name()}.step: a model goes with the Gradients of loss.backward(), not "
                f"with {type(gradients).__name__}; a single gradient goes with its variable"
            )
        live = []
        for path, variable in self._memory.watch(model).variables:
            if variable._requires_grad:
                gradient = gradients.get(variable)
                if gradient is not None:
                    if gradient.data.shape != variable.leaf.shape:
                        raise _wrong_gradient(path, variable, gradient)
                    live.append((variable, gradient))
        if not live and not self._memory.watch(model).variables:
            raise ArgumentError(
                f"{self._name()}.step: {type(model).__name__} holds no variables to update"
            )
        return live

    def _flat(self, live: Live, given: dict[str, Any]) -> Live:
        """Update small parameters in groups, and return the others."""
        if len(live) < 2:
            return live
        version = self._memory.version
        plan = self._plan
        if plan is None or not plan.fits(live, version):
            plan = Plan(live, self._cells, version)
            object.__setattr__(self, "_plan", plan)
        return plan.step(self._advance, live, given)

    def _each(self, live: Live, given: dict[str, Any]) -> None:
        """Update parameters one by one: large ones, and all of them under a trace."""
        hypers: dict[Any, Any] = dict(given)
        for variable, gradient in live:
            cells = self._cells(variable)
            state = {name: cell.value.detach() for name, cell in cells.items()}
            g = gradient.detach()
            g = g if g.dtype == variable.dtype else g.astype(variable.dtype)
            hypers["step"] = cells["step"]
            value, new = self._advance(variable.value.detach(), g, state, hypers)
            variable.assign(value)
            for name, tensor in new.items():
                cells[name].assign(tensor)

    def _advance(
        self, value: Tensor, gradient: Tensor, state: State, hypers: dict[Any, Any]
    ) -> tuple[Tensor, State]:
        """`advance` of tensors: op by op under a trace, else at once on the backend's arrays. A
        parameter in float16 or bfloat16 is updated in float32, and the result rounded."""
        if is_narrow(value.dtype):
            wide, new = self._advance(
                value.astype(float32), gradient.astype(float32), state, hypers
            )
            return wide.astype(value.dtype), new
        if not is_eager():
            return self.advance(ops, value, gradient, state, hypers)
        arrays = {name: tensor.data for name, tensor in state.items()}
        if isinstance(hypers.get("lr"), Tensor):
            hypers = hypers | {"lr": hypers["lr"].astype(value.dtype).data}
        new_value, new = backend_of(value.data).evaluate(
            self.advance, (value.data, gradient.data, arrays, hypers), {}
        )
        if STATE.trace is not None and not STATE.trace.passes([new_value, *new.values()]):
            return self.advance(ops, value, gradient, state, hypers)  # looked at op by op
        return Tensor(new_value), {name: Tensor(array) for name, array in new.items()}

    def advance(
        self, xp: Any, value: Any, gradient: Any, state: dict[str, Any], hypers: dict[Any, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """`update`, and the step count."""
        count, dtype = state["step"], value.dtype

        def hyper(name: str, function: Callable[[Any], float] = float) -> Any:
            return self._hyper(name, function, count, dtype, hypers)

        new_value, new = self.update(xp, value, gradient, state, hyper)
        for name, x in new.items():
            if x.dtype == dtype and x.shape != ():
                new[name] = settled(xp, x)
        new["step"] = count + 1
        return new_value, new

    def _hyper(
        self, name: str, function: Callable[[Any], float], count: Any, dtype: DType,
        known: dict[Any, Any],
    ) -> Any:  # fmt: skip
        """A hyperparameter for `update`: a number, or in a compiled step a scalar that the host
        evaluates anew before every call."""
        if name == "lr" and "lr" in known:
            rate = known["lr"]
            if isinstance(rate, Number):
                return rate.alone(dtype)
            return rate.astype(dtype) if isinstance(rate, Tensor) else rate
        held = getattr(self, name)
        if is_eager():
            return function(self._scheduled(held, count) if callable(held) else held)
        cell = known["step"] if callable(held) else None  # each parameter has a step of its own
        key = (name, function, dtype, id(cell))
        if key not in known:
            known[key] = self._host_scalar(name, function, count, dtype, cell)
        return known[key]

    def _host_scalar(
        self, name: str, function: Callable[[Any], float], count: Any, dtype: DType,
        cell: Variable | None,
    ) -> Tensor:  # fmt: skip
        """What the host evaluates for a compiled step."""
        trace = STATE.trace
        if cell is None:
            return trace.host_scalar(lambda: function(getattr(self, name)), dtype)
        if not _is_read(count):  # an update before this one, in the same function
            raise TraceError(
                f"{self._name()}: a function compiled by ct.jit may update a parameter once if "
                f"opt.{name} is a schedule; call opt.step once, or set opt.{name} to a number"
            )

        def ahead(iterations: int) -> float:
            steps = self._common(cell.peek()) + iterations
            return function(self._scheduled(getattr(self, name), steps))

        return trace.host_scalar(ahead, dtype, varying=True)

    def _common(self, counts: Any) -> int:
        """The step count of a parameter; of models that are mapped, what they have in common."""
        counts = np.asarray(counts)
        if (counts != counts.flat[0]).any():
            raise ArgumentError(
                f"{self._name()}: lr is a schedule, but the models that are trained as one have "
                "made different numbers of steps; pass step(..., lr=rates) instead"
            )
        return int(counts.flat[0])

    def _scheduled(self, schedule: Callable[[int], Any], count: Any) -> float:
        return self._number("lr", schedule(int(count)))

    # -- groups ---------------------------------------------------------------------------

    def group(self, which: Any, **settings: Any) -> Self:
        """Give some parameters settings of their own; all others stay as they are.

        Args:
            which: a variable; a module, or any container or object of variables, whose
                parameters are meant; or a function of one parameter that says whether it is
                meant, such as ``lambda p: p.ndim < 2`` for biases and scales.
            settings: hyperparameters by name. What is not given follows this optimizer, now
                and later.

        Returns:
            The group, whose attributes are its settings: ``group.lr = 0.01`` changes the
            learning rate of its parameters. Of several groups that hold a parameter the
            latest decides. The state of a parameter (its moments) stays with the optimizer.

        Raises:
            ArgumentError: for a setting that the optimizer does not have, or one out of range.
            ArgumentTypeError: if `which` can hold no parameters.

        >>> from cotangent.optim import SGD
        >>> layer, opt = {"w": Tensor.var("w", [1.0]), "b": Tensor.var("b", [1.0])}, SGD(lr=0.5)
        >>> slow = opt.group(layer["b"], lr=0.25)
        >>> opt.step(layer, (layer["w"] + layer["b"]).sum().backward())
        >>> layer["w"].tolist(), layer["b"].tolist()
        ([0.5], [0.75])
        """
        if self._parent is not None:
            raise ArgumentError(f"{self._name()}.group: call it on the optimizer, not on a group")
        choice = Choice(self._name(), which)
        for name in settings:
            if name.startswith("_") or name == "groups" or name not in vars(self):
                known = ", ".join(n for n in vars(self) if n[0] != "_" and n != "groups")
                raise ArgumentError(f"{self._name()}.group: no setting {name!r}; it has {known}")
        made = object.__new__(type(self))
        made._prepare(self._memory, self, choice)
        for name, value in settings.items():
            setattr(made, name, value)
        self.groups = (*self.groups, made)
        return made

    def _chosen(self, variable: Variable) -> Optimizer:
        """The group whose settings a parameter has; the optimizer itself if there is none."""
        for group in reversed(self.groups):
            if group._choice is not None and group._choice.holds(variable):
                return group
        return self

    def _split(self, live: Live) -> list[tuple[Optimizer, Live]]:
        """Parameters with their gradients, by the group that they belong to."""
        trace = STATE.trace
        if trace is not None:
            trace.note(self)
            for group in self.groups:
                if group._choice is not None and group._choice.container is not None:
                    trace.note(group._choice.container)
        parts: dict[int, tuple[Optimizer, Live]] = {}
        for variable, gradient in live:
            chosen = self._chosen(variable)
            parts.setdefault(id(chosen), (chosen, []))[1].append((variable, gradient))
        return list(parts.values())

    # -- state ----------------------------------------------------------------------------

    def _cells(self, variable: Variable) -> dict[str, Variable]:
        return self._memory.cells(variable, self.fresh)

    def state_dict(self, model: Any) -> dict[str, np.ndarray[Any, Any]]:
        """The state of the parameters of `model`: read-only arrays by ``path.name``.

        >>> from cotangent import nn
        >>> from cotangent.optim import SGD
        >>> layer, opt = nn.Linear(2, 1), SGD(0.1)
        >>> opt.step(layer.bias, [1.0])
        >>> opt.state_dict(layer)
        {'bias.step': array(1)}
        """
        return {
            f"{path}.{name}": cell.numpy()
            for path, variable in named_variables(model)
            for name, cell in self._memory.known(variable).items()
        }

    def load_state_dict(self, model: Any, values: Mapping[str, Any]) -> None:
        """Take over a state that `state_dict` returned; everything is checked first.

        Raises:
            UnknownKeyError: for a key that belongs to no parameter of `model`.
            ShapeError: for a value that does not fit its parameter.
        """
        paths = {path: v for path, v in named_variables(model) if v.parameter}
        new: dict[str, tuple[Variable, State]] = {}
        for key, value in values.items():
            path, _, name = key.rpartition(".")
            variable = paths.get(path)
            if variable is None:
                raise UnknownKeyError(
                    f"{self._name()}.load_state_dict: {key!r} belongs to no parameter of "
                    f"{type(model).__name__}; it has {', '.join(paths) or 'none'}"
                )
            chosen = self._chosen(variable)
            fresh = new.setdefault(path, (variable, chosen.fresh(variable)))[1]
            if name not in fresh:
                raise UnknownKeyError(
                    f"{self._name()}.load_state_dict: {key!r}: the state of a parameter is "
                    f"{', '.join(fresh)} with these settings"
                )
            array = np.array(value, fresh[name].dtype)
            # The counters of models that are trained as one have an axis for the models.
            stacked = variable.shape[:1] if fresh[name].shape == () else fresh[name].shape
            if array.shape not in (fresh[name].shape, stacked):
                raise ShapeError(
                    f"{self._name()}.load_state_dict: {key!r} has shape {array.shape}, but "
                    f"{fresh[name].shape} is needed"
                )
            fresh[name] = Tensor(array)
        for variable, state in new.values():
            self._memory.replace(variable, state)
        for known in (self, *self.groups):
            object.__setattr__(known, "_plan", None)

    def fresh(self, variable: Variable) -> State:
        """The state of a parameter before its first update; in float32 for narrow parameters."""
        dtype = float32 if is_narrow(variable.dtype) else variable.dtype
        shaped = Tensor(np.broadcast_to(np.zeros((), dtype), variable.shape))
        return {"step": Tensor(np.zeros((), np.int64)), **self.init(shaped)}

    # -- checks ---------------------------------------------------------------------------

    def _name(self) -> str:
        return type(self).__name__

    def _number(self, name: str, value: Any, below: float = math.inf) -> float:
        """A hyperparameter as a float in ``[0, below)``."""
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
            raise ArgumentTypeError(f"{self._name()}: {name} must be a number, not {value!r}")
        if not 0.0 <= value < below:
            top = "" if below == math.inf else f" and below {below:g}"
            raise ArgumentError(
                f"{self._name()}: {name} must be finite, not negative{top}, got {value}"
            )
        return float(value)

    def _pair(self, name: str, value: Any) -> tuple[float, ...]:
        """A hyperparameter that is two numbers in ``[0, 1)``."""
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise ArgumentTypeError(
                f"{self._name()}: {name} must be a pair of numbers, not {value!r}"
            )
        return tuple(self._number(f"{name}[{i}]", b, below=1.0) for i, b in enumerate(value))

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name}={value!r}"
            for name, value in vars(self).items()
            if name[0] != "_" and name != "groups"
        )
        return f"{self._name()}({shown})"


def _is_read(count: Tensor) -> bool:
    """Whether a traced tensor is what a variable holds at the start, inside a map or not."""
    data = count.data
    while hasattr(data, "tensor"):
        data = data.tensor.data
    return bool(getattr(data, "role", "variable") == "variable")


def zeros_of(like: Tensor) -> Tensor:
    """Zeros for the state of a parameter."""
    return Tensor(np.zeros(like.shape, like.dtype))


def _wrong_gradient(path: str, variable: Variable, gradient: Tensor) -> ShapeError:
    return ShapeError(
        f"step: the gradient of {path} has shape {gradient.shape}, but the parameter has shape "
        f"{variable.shape}; a gradient has the shape of its parameter"
    )
