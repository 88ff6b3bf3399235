"""A file in which a long run of train is kept, and from which it continues after its process was killed."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from lookahead_nb.checks import whole_number
from lookahead_nb.optimizers import Optimizer, State
from lookahead_nb.training import saved
from lookahead_nb.training.callbacks import Observed, Watch, Weights
from lookahead_nb.training.files import discard
from lookahead_nb.training.setup import Rows, Setup

if TYPE_CHECKING:
    from lookahead_nb.training.run import Run

_UNFINISHED = r"\.[0-9a-f]{16}\.tmp"  # what follows the name of a file that was being written, see ``files.temporary``


class Resumed(NamedTuple):
    """A run as its file holds it.

    Attributes
    ----------
    observed : Observed
        The run up to the step of the file; its weights are the best ones with early stopping.
    weights : (params, state)
        Those with which it continues.
    finished : bool
        Whether it has ended.
    """

    observed: Observed
    weights: Weights
    finished: bool


class Checkpoint:
    """The file of one run.

    Parameters
    ----------
    path : path
        Ends in .npz.
    every : int
        At least 1: the steps between two checkpoints.
    setup : Setup
        Of the whole run.
    opt : Optimizer
        With which it starts.
    seed : int
    rows : Rows
    watch : Watch

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range, or a file cannot describe the run.
    FileNotFoundError
        If the folder does not exist.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: int,
        setup: Setup,
        opt: Optimizer,
        seed: int,
        rows: Rows,
        watch: Watch,
    ) -> None:
        self.path = saved.checked_path("checkpoint", path)
        self.steps = range(whole_number("checkpoint_every", every, 1), setup.steps, every)
        saved.check_describable(setup.model, opt, getattr(setup.data, "scaling", None))
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"checkpoint must lie in a folder that exists, got {self.path}: create the folder")
        settings = setup.settings()
        self.settings: dict[str, Any] = {"model": settings["model"], "data": rows.fingerprint, "opt": opt.settings()}
        self.settings |= settings["training"] | {"seed": seed, "eval_at": setup.eval_steps.tolist()}
        self.settings |= {name: repr(rule) for name, rule in watch._asdict().items() if name != "callback"}
        self.settings = json.loads(json.dumps(self.settings))  # as the file returns them: tuples are lists there

    def read(self) -> Resumed | None:
        """Return the run in the file, or None if there is no file; remove what a killed process has left half written.

        Returns
        -------
        Resumed or None

        Raises
        ------
        ValueError
            If the file is that of another run, or damaged.
        OSError
            If it cannot be read.
        """
        for other in self.path.parent.iterdir():
            if re.fullmatch(re.escape(self.path.name) + _UNFINISHED, other.name):
                discard(other)
        if not self.path.exists():
            return None
        parts = saved.read(self.path)
        if parts["resume"] is None:
            raise ValueError(f"checkpoint must be a file of train, got a run that run.save wrote: {self.path}")
        before = parts["resume"]["settings"]
        names = dict.fromkeys((*self.settings, *before))
        other_names = [name for name in names if before.get(name) != self.settings.get(name)]
        if other_names:
            raise ValueError(
                f"checkpoint must be a file of the same run, got one with another {', '.join(other_names)}: "
                f"pass another path, or remove {self.path} to train from the start"
            )
        weights = parts["params"], parts["state"]
        observed = Observed(parts["setup"], parts["outcome"], parts["metrics"], *weights, parts["best_step"])
        return Resumed(observed, parts["current"] or weights, parts["resume"]["finished"])

    def write(self, run: Run, current: tuple[Any, State] | None) -> None:
        """Replace the file.

        Parameters
        ----------
        run : Run
            Up to the step of the checkpoint.
        current : (params, state) or None
            The weights with which it continues, None for those of the run at its end.

        Raises
        ------
        OSError
            If it cannot be written; an older file stays.
        """
        saved.write(self.path, run, {"settings": self.settings, "finished": current is None}, current)
