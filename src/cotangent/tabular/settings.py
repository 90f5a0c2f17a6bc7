"""What training on a table is done with: sensible values from the size of the data."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from ..checks import real, whole
from ..errors import ArgumentError

FEW_ROWS = 2000  # below, rows are too precious, and too few to judge by, to hold some out
HELD_OUT = 0.2
_PASSES = 40
_STEPS = 600
_STEPS_OF_AN_EPOCH = 30


@dataclass(frozen=True)
class Settings:
    """How a network is built and trained; None is chosen from the data by `settled`.

    Attributes:
        hidden: units of the hidden layers.
        dropout: in [0, 1).
        lr: the learning rate at the beginning; it goes to 0 by half a cosine.
        weight_decay: of `AdamW`.
        batch_size: rows in a step.
        epochs: how often to go through the rows, `passes` times each.
        passes: over the rows in an epoch: more than 1 of few rows, because an epoch has a cost of
            its own.
        validation: the share of the rows that is held out; 0 for none. With it, training ends
            after `patience` epochs without a better loss of these rows, and the best weights stay.
        patience: epochs to wait for a better one.
        seed: of the first weights, the order of the rows, dropout, and what is held out.

    Raises:
        ArgumentError: for a value out of range.
    """

    hidden: tuple[int, ...] | None = None
    dropout: float | None = None
    lr: float = 3e-3
    weight_decay: float | None = None
    batch_size: int | None = None
    epochs: int | None = None
    validation: float | None = None
    patience: int = 10
    seed: int = 0
    passes: int | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "patience", "passes"):
            if getattr(self, name) is not None:
                whole("tabular.fit", name, getattr(self, name), 1)
        whole("tabular.fit", "seed", self.seed, 0)
        for units in self.hidden or ():
            whole("tabular.fit", "hidden", units, 1)
        if not real("tabular.fit", "lr", self.lr) > 0:
            raise ArgumentError(f"tabular.fit: lr must be positive, got {self.lr}")
        if self.weight_decay is not None:
            real("tabular.fit", "weight_decay", self.weight_decay, 0.0, 1e6)
        for name in ("dropout", "validation"):
            value = getattr(self, name)
            if value is not None and not 0 <= real("tabular.fit", name, value) < 1:
                raise ArgumentError(f"tabular.fit: {name} must lie in [0, 1), got {value}")

    def settled(self, rows: int) -> Settings:
        """All values, for a table of so many rows.

        - two layers of 128 units, of 256 from 1,000 rows on; a tenth of them dropped.
        - 32 rows in a step; from 6,400 rows on a 200th of them, up to 512: large tables need
          fewer looks at each row, and large batches use the machine better.
        - 40 passes over the rows, or as many as make 600 steps, by epochs of 30 steps or more;
          where epochs are given, each is one pass.
        - weight decay 1,500 / rows, up to 3: it stands for a prior belief in small weights, which
          counts as much as a fixed number of rows. Over the steps of a small table anything less
          does nothing.

        >>> settings = Settings().settled(400)
        >>> settings.epochs, settings.passes
        (16, 3)
        """
        units = 128 if rows < 1000 else 256
        size = self.batch_size or min(512, max(32, rows // 200))
        batches = ceil(rows / size)
        one = self.epochs is not None
        passes = self.passes or (1 if one else ceil(_STEPS_OF_AN_EPOCH / batches))
        times = max(_PASSES, ceil(_STEPS / batches))
        validation = self.validation
        if validation is None:
            validation = HELD_OUT if rows >= FEW_ROWS else 0.0
        return Settings(
            hidden=(units, units) if self.hidden is None else self.hidden,
            dropout=0.1 if self.dropout is None else self.dropout,
            lr=self.lr,
            weight_decay=min(3.0, 1500 / rows) if self.weight_decay is None else self.weight_decay,
            batch_size=size,
            epochs=self.epochs or ceil(times / passes),
            validation=validation,
            patience=self.patience,
            seed=self.seed,
            passes=passes,
        )
