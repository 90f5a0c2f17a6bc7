"""What is told of the course of a run."""

from __future__ import annotations

from typing import Any


class Callback:
    """The base of callbacks: all methods do nothing.

    Watching costs time: with an `on_epoch` every epoch is a call of native code of its own, with
    an `on_step` every `every` steps are.

    Attributes:
        every: call `on_step` after each so many updates; None: never.
    """

    every: int | None = None

    def on_start(self, run: Any) -> None:
        """Before the first step, also of a run that is resumed."""

    def on_step(self, run: Any) -> None:
        """After every `every` updates; ``run.step`` is their number, ``run.loss`` the last loss."""

    def on_epoch(self, run: Any, row: dict[str, Any]) -> None:
        """After an epoch; `row` is its row of the history, and may be added to."""

    def on_end(self, run: Any) -> None:
        """After the last step; ``run.history.stopped`` says why. Also after an error."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it, for JSON."""
        return {}

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
