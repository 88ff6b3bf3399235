"""Compiled code: formulas, the random stream, and the loops that run them on a CPU and a GPU."""
