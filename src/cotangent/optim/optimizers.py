"""Optimizers: rules that turn a parameter and its gradient into the parameter's next value.

An optimizer is two short methods, `init` and `update`. The base class keeps the state, per
parameter and in variables, so that a compiled step can read and write it; walks models; and, in
eager work, updates small parameters of equal settings as one flat vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import ops
from ..backends import backend_of
from ..config import EPOCH, STATE
from ..dtypes import DType
from ..errors import (
    ArgumentError,
    ArgumentTypeError,
    GradientError,
    ShapeError,
    TraceError,
    UnknownKeyError,
)
from ..gradients import Gradients
from ..tensors import Tensor, Variable, lift
from ..variables import named_variables
from .flat import Live, Plan
from .state import Memory

State = dict[str, Tensor]
Hyper = Callable[..., Any]


class Optimizer:
    """The base of optimizers. A subclass defines `init` and `update`.

    Hyperparameters are attributes; a change takes effect at the next step, also in a
    compiled one, which it does not recompile. The learning rate may be a function of the number of
    updates that a parameter has had: ``lr=lambda step: 0.1 * 0.99**step``.
    """

    announces_changes = True
    settings_are_inputs = True  # to compiled steps: numbers reach them without a new trace
    _memory: Memory
    lr: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> Optimizer:
        made = object.__new__(cls)
        object.__setattr__(made, "_memory", Memory())
        return made

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, self.check(name, value))
        self._memory.version += 1
        EPOCH.restructure()

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
            state: what `init` returned, updated since.
            hyper: ``hyper("lr")`` is a hyperparameter, ``hyper(name, function)`` the host's
                ``function(hyperparameter)``: a number, or a scalar of the compiled step.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define update")

    # -- steps ----------------------------------------------------------------------------

    def step(self, target: Any, gradients: Any) -> None:
        """Update one parameter, or every parameter of a model.

        Frozen parameters, and those without a gradient, are skipped with their state.

        Args:
            target: a variable; or a module, or any container or object that holds variables.
            gradients: for a variable its gradient, a tensor of its shape; for a model the
                `Gradients` that ``loss.backward()`` returned.

        Raises:
            ShapeError: if a gradient has another shape than its parameter.
            ArgumentTypeError: if `target` and `gradients` do not go together.
        """
        if isinstance(target, Variable):
            live = self._single(target, gradients)
        else:
            live = self._live(target, gradients)
        if STATE.trace is None:
            live = self._flat(live)
        else:
            STATE.trace.note(self)
            STATE.trace.note(target)
        self._each(live)

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

    def _flat(self, live: Live) -> Live:
        """Update small parameters in groups, and return the others."""
        if len(live) < 2:
            return live
        memory = self._memory
        plan = memory.plan
        if plan is None or not plan.fits(live, memory.version):
            plan = memory.plan = Plan(live, self._cells, memory.version)
        return plan.step(self._advance, live)

    def _each(self, live: Live) -> None:
        """Update parameters one by one: large ones, and all of them under a trace."""
        hypers: dict[Any, Any] = {}
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
        """`advance` of tensors: op by op under a trace, else at once on the backend's arrays."""
        if STATE.trace is not None:
            return self.advance(ops, value, gradient, state, hypers)
        arrays = {name: tensor.data for name, tensor in state.items()}
        new_value, new = backend_of(value.data).evaluate(
            self.advance, (value.data, gradient.data, arrays, hypers), {}
        )
        return Tensor(new_value), {name: Tensor(array) for name, array in new.items()}

    def advance(
        self, xp: Any, value: Any, gradient: Any, state: dict[str, Any], hypers: dict[Any, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """`update`, and the step count."""
        count, dtype = state["step"], value.dtype

        def hyper(name: str, function: Callable[[Any], float] = float) -> Any:
            return self._hyper(name, function, count, dtype, hypers)

        new_value, new = self.update(xp, value, gradient, state, hyper)
        new["step"] = count + 1
        return new_value, new

    def _hyper(
        self, name: str, function: Callable[[Any], float], count: Any, dtype: DType,
        known: dict[Any, Any],
    ) -> Any:  # fmt: skip
        """A hyperparameter for `update`: a number, or in a compiled step a scalar that the host
        evaluates anew before every call."""
        held = getattr(self, name)
        if STATE.trace is None:
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
        if count.data.role != "variable":  # an update before this one, in the same function
            raise TraceError(
                f"{self._name()}: a function compiled by ct.jit may update a parameter once if "
                f"opt.{name} is a schedule; call opt.step once, or set opt.{name} to a number"
            )

        def ahead(iterations: int) -> float:
            return function(self._scheduled(getattr(self, name), int(cell.peek()) + iterations))

        return trace.host_scalar(ahead, dtype, varying=True)

    def _scheduled(self, schedule: Callable[[int], Any], count: Any) -> float:
        return self._number("lr", schedule(int(count)))

    # -- state ----------------------------------------------------------------------------

    def _cells(self, variable: Variable) -> dict[str, Variable]:
        return self._memory.cells(variable, self.fresh)

    def state_dict(self, model: Any) -> dict[str, np.ndarray[Any, Any]]:
        """The state of the parameters of `model`: read-only arrays by ``path.name``.

        >>> from cotangent import nn
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
            fresh = new.setdefault(path, (variable, self.fresh(variable)))[1]
            if name not in fresh:
                raise UnknownKeyError(
                    f"{self._name()}.load_state_dict: {key!r}: the state of a parameter is "
                    f"{', '.join(fresh)} with these settings"
                )
            array = np.array(value, fresh[name].dtype)
            if array.shape != fresh[name].shape:
                raise ShapeError(
                    f"{self._name()}.load_state_dict: {key!r} has shape {array.shape}, but "
                    f"{fresh[name].shape} is needed"
                )
            fresh[name] = Tensor(array)
        for variable, state in new.values():
            self._memory.replace(variable, state)

    def fresh(self, variable: Variable) -> State:
        """The state of a parameter before its first update."""
        shaped = Tensor(np.broadcast_to(np.zeros((), variable.dtype), variable.shape))
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

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name}={value!r}" for name, value in vars(self).items() if name[0] != "_"
        )
        return f"{self._name()}({shown})"


def _wrong_gradient(path: str, variable: Variable, gradient: Tensor) -> ShapeError:
    return ShapeError(
        f"step: the gradient of {path} has shape {gradient.shape}, but the parameter has shape "
        f"{variable.shape}; a gradient has the shape of its parameter"
    )


class SGD(Optimizer):
    """Gradient descent, with momentum if asked for.

    With weight decay w, gradient ``g = g + w * p``. With momentum m, ``b = m * b + g`` (b starts
    at 0), and ``g = b``, or ``g + m * b`` (Nesterov). Then ``p = p - lr * g``. As in PyTorch.

    Args:
        lr: the learning rate, not negative; or a function of the step number.
        momentum: m, in [0, 1).
        nesterov: whether to look ahead; needs momentum.
        weight_decay: w, not negative.

    State: ``step``, and ``momentum`` (b) if m is not 0.

    >>> w = Tensor.var("w", [1.0])
    >>> SGD(lr=0.5).step(w, (w * w).sum().backward())
    >>> w.tolist()
    [0.0]
    """

    def __init__(
        self, lr: Any, momentum: float = 0.0, *, nesterov: bool = False, weight_decay: float = 0.0
    ) -> None:
        self.lr = lr
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay

    def check(self, name: str, value: Any) -> Any:
        if name == "momentum":
            value = self._number(name, value, below=1.0)
            if value == 0 and getattr(self, "nesterov", False):
                raise ArgumentError("SGD: nesterov=True needs a momentum above 0")
        if name == "nesterov" and value and not self.momentum:
            raise ArgumentError("SGD: nesterov=True needs a momentum above 0")
        return super().check(name, value)

    def init(self, parameter: Tensor) -> State:
        return {"momentum": _zeros(parameter)} if self.momentum else {}

    def update(
        self, xp: Any, value: Any, gradient: Any, state: dict[str, Any], hyper: Hyper
    ) -> tuple[Any, dict[str, Any]]:
        if self.weight_decay:
            gradient = gradient + value * hyper("weight_decay")
        new = {}
        if self.momentum:
            m = hyper("momentum")
            new["momentum"] = b = state["momentum"] * m + gradient
            gradient = gradient + b * m if self.nesterov else b
        return value - gradient * hyper("lr"), new


class Adam(Optimizer):
    """Adaptive moments, with bias correction.

    With weight decay w, ``g = g + w * p``. Then ``m = b1 * m + (1 - b1) * g``,
    ``v = b2 * v + (1 - b2) * g * g``, and ``p = p - lr * (m / c1) / (sqrt(v / c2) + eps)``, where
    c1 and c2 are ``1 - b1**t`` and ``1 - b2**t`` after t steps, kept as ``c = b * c + (1 - b)``
    from 0, which loses no digits. As in PyTorch.

    Args:
        lr: the learning rate, not negative; or a function of the step number.
        betas: (b1, b2), each in [0, 1).
        eps: added to the root, not negative.
        weight_decay: w, not negative; it goes through the moments (L2 regularisation).

    State: ``step``, ``m``, ``v``, ``c1``, ``c2``.

    Source: D. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    >>> w = Tensor.var("w", [1.0])
    >>> Adam(lr=0.5).step(w, (w * w).sum().backward())
    >>> w.tolist()
    [0.5]
    """

    def __init__(
        self,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.lr = lr
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay

    def check(self, name: str, value: Any) -> Any:
        if name == "betas":
            if not isinstance(value, (tuple, list)) or len(value) != 2:
                raise ArgumentTypeError(f"Adam: betas must be a pair of numbers, not {value!r}")
            return tuple(self._number(f"betas[{i}]", b, below=1.0) for i, b in enumerate(value))
        return super().check(name, value)

    def init(self, parameter: Tensor) -> State:
        zero = Tensor(np.zeros((), parameter.dtype))
        return {"m": _zeros(parameter), "v": _zeros(parameter), "c1": zero, "c2": zero}

    def update(
        self, xp: Any, value: Any, gradient: Any, state: dict[str, Any], hyper: Hyper
    ) -> tuple[Any, dict[str, Any]]:
        if self.weight_decay:
            gradient = gradient + value * hyper("weight_decay")
        b1, b2 = hyper("betas", _first), hyper("betas", _second)
        r1, r2 = hyper("betas", _rest_of_first), hyper("betas", _rest_of_second)
        m = state["m"] * b1 + gradient * r1
        v = state["v"] * b2 + gradient * gradient * r2
        c1 = state["c1"] * b1 + r1
        c2 = state["c2"] * b2 + r2
        denominator = xp.sqrt(v / c2) + hyper("eps")
        value = value - m * (hyper("lr") / c1) / denominator
        return value, {"m": m, "v": v, "c1": c1, "c2": c2}


def _first(betas: Any) -> float:
    return float(betas[0])


def _second(betas: Any) -> float:
    return float(betas[1])


def _rest_of_first(betas: Any) -> float:
    return 1.0 - float(betas[0])


def _rest_of_second(betas: Any) -> float:
    return 1.0 - float(betas[1])


def _zeros(like: Tensor) -> Tensor:
    return Tensor(np.zeros(like.shape, like.dtype))


def clip_norm(gradients: Gradients, max_norm: float) -> tuple[Gradients, Tensor]:
    """Gradients scaled down to a global L2 norm of at most `max_norm`, and the norm before.

    The factor is ``min(1, max_norm / (norm + 1e-6))``, as in PyTorch.

    Raises:
        ArgumentError: if `max_norm` is not positive.
        GradientError: if there are no gradients.

    >>> w = Tensor.var("w", [3.0, 4.0])
    >>> grads, norm = clip_norm((w * w).sum().backward(), 1.0)
    >>> norm.item(), round(grads.norm().item(), 4)
    (10.0, 1.0)
    """
    if not isinstance(gradients, Gradients):
        raise ArgumentTypeError(
            f"clip_norm takes the Gradients of loss.backward(), not {type(gradients).__name__}"
        )
    if not max_norm > 0:
        raise ArgumentError(f"clip_norm: max_norm must be positive, got {max_norm}")
    if not len(gradients):
        raise GradientError("clip_norm: there are no gradients; nothing tracked had a part")
    norm = gradients.norm()
    factor = ops.minimum(ops.divide(max_norm, norm + 1e-6), 1.0)
    return gradients * factor, norm
