"""Training: `fit`, metrics, checkpoints, and what a run writes."""

from . import metrics
from .callbacks import Callback
from .fitting import fit
from .history import History
from .metrics import Metric
from .stopping import EarlyStopping
from .trainer import Trainer

__all__ = ["Callback", "EarlyStopping", "History", "Metric", "Trainer", "fit", "metrics"]
