"""Data sets, batches of arrays in memory, and tables from files."""

from .batching import Batches, batches, shuffled
from .handwriting import Digits, digits
from .images import Images, fashion_mnist, mnist
from .tables import Table, read_csv

__all__ = [
    "Batches", "Digits", "Images", "Table", "batches", "digits", "fashion_mnist", "mnist",
    "read_csv", "shuffled",
]  # fmt: skip
