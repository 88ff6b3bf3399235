"""Data sets: bundled, synthetic, downloaded and the user's own, all split and scaled by the same rules."""

from lookahead_nb.datasets.arrays import from_arrays, read_rows, unlabelled
from lookahead_nb.datasets.dataset import Dataset, stratified_rows
from lookahead_nb.datasets.sources import DOWNLOADED, NAMES, available, chunk, load

__all__ = [
    "DOWNLOADED",
    "NAMES",
    "Dataset",
    "available",
    "chunk",
    "from_arrays",
    "load",
    "read_rows",
    "stratified_rows",
    "unlabelled",
]
