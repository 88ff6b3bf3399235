"""Training runs: one and many, their plan, their engines, their histories."""

from lookahead_nb.training.plan import Plan
from lookahead_nb.training.run import Run, load, train, weights_at
from lookahead_nb.training.setup import Setup, Training

__all__ = ["Plan", "Run", "Setup", "Training", "load", "train", "weights_at"]
