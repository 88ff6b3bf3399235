"""A laboratory for the Lookahead optimizer around AdamW: exact rules, fast training runs, claims put on trial."""

from lookahead_nb import schedules
from lookahead_nb.optimizers import SGD, Adagrad, Adam, AdamW, Lookahead, RMSprop
from lookahead_nb.philox import minibatches

__version__ = "0.1.0"
