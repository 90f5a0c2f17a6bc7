"""Learning rate schedules: functions of the step number, from 0.

An optimizer takes any function of the step as its ``lr``; those made here also print, pickle
and check what they are given. They have no state, so there is nothing to call in the right order
or to save: the step number is the optimizer's. To count epochs, divide:
``lambda step: schedule(step // steps_per_epoch)``.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from ..checks import real, whole
from ..errors import ArgumentError, ArgumentTypeError


class Schedule:
    """A function of the step number, with the settings that it was made of.

    >>> cosine_decay(0.1, 100)
    cosine_decay(lr=0.1, steps=100, end=0.0)
    """

    __slots__ = ("name", "settings", "_function")

    def __init__(self, name: str, function: Callable[..., float], **settings: Any) -> None:
        self.name = name
        self.settings = settings
        self._function = function

    def __call__(self, step: int) -> float:
        """The learning rate of the update that `step` updates came before."""
        return self._function(step, **self.settings)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"{self.name}({shown})"


def constant(lr: float) -> Schedule:
    """`lr` at every step.

    >>> constant(0.1)(7)
    0.1
    """
    return Schedule("constant", _constant, lr=_rate("constant", "lr", lr))


def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """``lr * factor**(step // every)``: PyTorch's ``StepLR``.

    >>> [step_decay(1.0, 2, 0.5)(step) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    what = "step_decay"
    return Schedule(
        what, _step, lr=_rate(what, "lr", lr), every=_count(what, "every", every),
        factor=_rate(what, "factor", factor),
    )  # fmt: skip


def multi_step_decay(lr: float, milestones: Sequence[int], factor: float = 0.1) -> Schedule:
    """`lr` times `factor` for each milestone reached: PyTorch's ``MultiStepLR``.

    >>> [multi_step_decay(1.0, [1, 3], 0.5)(step) for step in range(5)]
    [1.0, 0.5, 0.5, 0.25, 0.25]
    """
    what = "multi_step_decay"
    return Schedule(
        what, _multi_step, lr=_rate(what, "lr", lr),
        milestones=_rising(what, "milestones", milestones), factor=_rate(what, "factor", factor),
    )  # fmt: skip


def exponential_decay(lr: float, factor: float) -> Schedule:
    """``lr * factor**step``: PyTorch's ``ExponentialLR``.

    >>> exponential_decay(1.0, 0.5)(3)
    0.125
    """
    what = "exponential_decay"
    return Schedule(
        what, _exponential, lr=_rate(what, "lr", lr), factor=_rate(what, "factor", factor)
    )


def linear(start: float, end: float, steps: int) -> Schedule:
    """A straight line from `start` at step 0 to `end` at step `steps`, and `end` from there on.

    >>> [linear(0.0, 1.0, 2)(step) for step in range(4)]
    [0.0, 0.5, 1.0, 1.0]
    """
    what = "linear"
    return Schedule(
        what, _linear, start=_rate(what, "start", start), end=_rate(what, "end", end),
        steps=_count(what, "steps", steps),
    )  # fmt: skip


def cosine_decay(lr: float, steps: int, end: float = 0.0) -> Schedule:
    """``end + (lr - end) * (1 + cos(pi * step / steps)) / 2``, and `end` after `steps`.

    PyTorch's ``CosineAnnealingLR``, except that it stays down. With warm-up:
    ``warmup(100, cosine_decay(0.1, 1000))``.

    Source: I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts",
    ICLR 2017.

    >>> [round(cosine_decay(1.0, 2)(step), 6) for step in range(4)]
    [1.0, 0.5, 0.0, 0.0]
    """
    what = "cosine_decay"
    return Schedule(
        what, _cosine, lr=_rate(what, "lr", lr), steps=_count(what, "steps", steps),
        end=_rate(what, "end", end),
    )  # fmt: skip


def one_cycle(
    lr: float,
    steps: int,
    rise: float = 0.3,
    start_factor: float = 25.0,
    end_factor: float = 1e4,
) -> Schedule:
    """Up to `lr` and down again, both along a cosine: PyTorch's ``OneCycleLR``.

    From ``lr / start_factor`` to `lr` at step ``rise * steps - 1``, then down to
    ``lr / start_factor / end_factor`` at step ``steps - 1``, where it stays.

    Args:
        lr: the highest learning rate.
        steps: the number of steps in all, 2 or more.
        rise: the part of them that goes up, in (0, 1).
        start_factor, end_factor: 1 or more.

    Source: L. Smith, N. Topin, "Super-convergence", 2018, arXiv 1708.07120.

    >>> [round(one_cycle(1.0, 11, rise=0.5454545454545454)(step), 4) for step in (0, 5, 10)]
    [0.04, 1.0, 0.0]
    """
    what = "one_cycle"
    if not 0.0 < real(what, "rise", rise) < 1.0:
        raise ArgumentError(f"{what}: rise must lie between 0 and 1, not {rise}")
    for name, factor in (("start_factor", start_factor), ("end_factor", end_factor)):
        if not 1.0 <= real(what, name, factor) < math.inf:
            raise ArgumentError(f"{what}: {name} must be 1 or more, not {factor}")
    if _count(what, "steps", steps) < 2:
        raise ArgumentError(f"{what}: steps must be 2 or more, not {steps}")
    return Schedule(
        what, _one_cycle, lr=_rate(what, "lr", lr), steps=int(steps), rise=float(rise),
        start_factor=float(start_factor), end_factor=float(end_factor),
    )  # fmt: skip


def warmup(steps: int, then: Callable[[int], float]) -> Schedule:
    """A straight line up from 0 to ``then(0)`` over `steps` steps, and then `then`.

    Step ``i < steps`` has ``then(0) * (i + 1) / (steps + 1)``, so the first update is not lost;
    step `steps` is step 0 of `then`.

    >>> schedule = warmup(3, constant(1.0))
    >>> [schedule(step) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return Schedule(
        "warmup", _warmup, steps=_count("warmup", "steps", steps), then=_callable("warmup", then)
    )


def join(schedules: Sequence[Callable[[int], float]], milestones: Sequence[int]) -> Schedule:
    """One schedule after another; each begins at its step 0 when it takes over.

    PyTorch's ``SequentialLR``.

    Args:
        schedules: functions of the step.
        milestones: the steps at which the second, third, ... take over, rising.

    >>> schedule = join([constant(1.0), exponential_decay(0.5, 0.5)], [2])
    >>> [schedule(step) for step in range(5)]
    [1.0, 1.0, 0.5, 0.25, 0.125]
    """
    places = _rising("join", "milestones", milestones)
    if not isinstance(schedules, (list, tuple)):
        raise ArgumentTypeError(f"join: schedules must be a list of functions, not {schedules!r}")
    if len(schedules) != len(places) + 1:
        raise ArgumentError(
            f"join: {len(schedules)} schedules need {max(len(schedules) - 1, 0)} milestones "
            f"between them, not {len(places)}"
        )
    parts = tuple(_callable("join", schedule) for schedule in schedules)
    return Schedule("join", _joined, schedules=parts, milestones=places)


# -- the formulas -----------------------------------------------------------------------------


def _constant(step: int, lr: float) -> float:
    return lr


def _step(step: int, lr: float, every: int, factor: float) -> float:
    return lr * factor ** (step // every)


def _multi_step(step: int, lr: float, milestones: tuple[int, ...], factor: float) -> float:
    return lr * factor ** bisect.bisect_right(milestones, step)


def _exponential(step: int, lr: float, factor: float) -> float:
    return lr * factor**step


def _linear(step: int, start: float, end: float, steps: int) -> float:
    return start + (end - start) * min(step / steps, 1.0)


def _cosine(step: int, lr: float, steps: int, end: float) -> float:
    return _along_cosine(lr, end, min(step / steps, 1.0))


def _along_cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * part)) / 2.0


def _one_cycle(
    step: int, lr: float, steps: int, rise: float, start_factor: float, end_factor: float
) -> float:
    low, top = lr / start_factor, rise * steps - 1.0
    if step <= top:
        return _along_cosine(low, lr, step / top)
    part = (step - top) / (steps - 1.0 - top)
    return _along_cosine(lr, low / end_factor, min(part, 1.0))


def _warmup(step: int, steps: int, then: Callable[[int], float]) -> float:
    return then(0) * (step + 1) / (steps + 1) if step < steps else then(step - steps)


def _joined(
    step: int, schedules: tuple[Callable[[int], float], ...], milestones: tuple[int, ...]
) -> float:
    part = bisect.bisect_right(milestones, step)
    return schedules[part](step - (milestones[part - 1] if part else 0))


# -- checks -----------------------------------------------------------------------------------


def _rate(what: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentTypeError(f"{what}: {name} must be a number, not {value!r}")
    if not 0.0 <= value < math.inf:
        raise ArgumentError(f"{what}: {name} must be finite and not negative, got {value}")
    return float(value)


def _count(what: str, name: str, value: Any) -> int:
    return whole(what, name, value, 1)


def _rising(what: str, name: str, values: Any) -> tuple[int, ...]:
    if not isinstance(values, (list, tuple)):
        raise ArgumentTypeError(f"{what}: {name} must be a list of step numbers, not {values!r}")
    found = tuple(_count(what, name, value) for value in values)
    if any(a >= b for a, b in itertools.pairwise(found)):
        raise ArgumentError(f"{what}: {name} must rise, not {list(found)}")
    return found


def _callable(what: str, value: Any) -> Callable[[int], float]:
    if not callable(value):
        raise ArgumentTypeError(
            f"{what} takes functions of the step, not {value!r}; for a number use constant(...)"
        )
    return value
