"""Benchmarks against the peers: ``make bench``. Each module compares equal work and says how it checked that."""

import os

# A machine-wide setting for old OpenBLAS versions would slow the peer; it counts when NumPy is first imported.
for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(_name, None)
