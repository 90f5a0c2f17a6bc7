"""Training: `fit`, metrics, checkpoints, and what a run writes."""

from . import metrics
from .callbacks import Callback
from .fitting import fit
from .history import History
from .logs import CSVLog, TensorBoard
from .metrics import Metric
from .stopping import EarlyStopping
from .trainer import Trainer

__all__ = [
    "CSVLog", "Callback", "EarlyStopping", "History", "Metric", "TensorBoard", "Trainer", "fit",
    "metrics",
]  # fmt: skip
