"""Training runs: one and many, their plan, their engines, their histories."""

from lookahead_nb.training.plan import Plan
from lookahead_nb.training.play import Played, play
from lookahead_nb.training.run import Run, load, train, weights_at
from lookahead_nb.training.setup import Setup, Training

__all__ = ["Plan", "Played", "Run", "Setup", "Training", "load", "play", "train", "weights_at"]
