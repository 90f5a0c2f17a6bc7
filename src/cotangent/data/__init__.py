"""Data sets, batches of arrays in memory or mapped, and tables from files."""

from .ahead import read_ahead
from .batching import Batches, batches, shuffled
from .frame import Frame
from .handwriting import Digits, digits
from .images import Images, fashion_mnist, mnist
from .mapped import memory_mapped
from .sources import open_table, read_chunks, read_frame
from .tables import Table, read_csv

__all__ = [
    "Batches", "Digits", "Frame", "Images", "Table", "batches", "digits", "fashion_mnist",
    "memory_mapped", "mnist", "open_table", "read_ahead", "read_chunks", "read_csv", "read_frame",
    "shuffled",
]  # fmt: skip
