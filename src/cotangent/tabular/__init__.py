"""Models of tables: `fit` one to a CSV or Parquet file, predict, evaluate, save and load."""

from .learner import fit
from .model import TableModel, load
from .network import TableNetwork
from .settings import Settings

__all__ = ["Settings", "TableModel", "TableNetwork", "fit", "load"]
