"""One training run: model, data, optimizer and seed in; a tidy history and the trained weights out."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lookahead_nb.checks import default_errors, named_arguments, one_of, shown, whole_number
from lookahead_nb.datasets import Dataset
from lookahead_nb.datasets.scaling import Scaling
from lookahead_nb.display import shown_together
from lookahead_nb.kernels.bundles import readonly
from lookahead_nb.models.dense import DenseNetwork
from lookahead_nb.models.landscapes import Landscape
from lookahead_nb.models.own import OwnModel, is_own_model
from lookahead_nb.optimizers import Optimizer, State
from lookahead_nb.optimizers.schedules import Schedule
from lookahead_nb.training import engine_cpu, engine_python, saved
from lookahead_nb.training.callbacks import (
    RATE,
    EarlyStopping,
    Observed,
    ReduceOnPlateau,
    Snapshot,
    Watch,
    Weights,
    check_callback,
    check_rule,
    follow_lr,
    metrics_of,
    train_observed,
)
from lookahead_nb.training.checkpoint import Checkpoint
from lookahead_nb.training.history import histories, settings_frame, slow_rows
from lookahead_nb.training.plots import pictures_of, plot_run
from lookahead_nb.training.setup import (
    HIGHEST_SEED,
    KINDS,
    SPLITS,
    Data,
    Outcome,
    Rows,
    Setup,
    Training,
    always,
    check_horizon,
    check_optimizer,
    rising_steps,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A finished training run.

    Attributes
    ----------
    history : frame
        One row per evaluated step and kind of weights (see :func:`train`).
    params : (n,) array
        The fast weights at the end; with early stopping those at ``best_step``.
    slow : (n,) array or None
        The slow weights there, for EMA and Schedule-Free the average.
    state : State
        The optimizer's state there, ready for further steps by hand; ``state.t`` is the step of the weights.
    diverged_at : int or None
        The step at which the run diverged; with early stopping the weights of ``best_step`` are finite all the same.
    model : LogisticRegression, MLP, landscape, or your own
    scaling : Scaling or None
        That of the data set; None for a landscape.
    classes : (n_classes,) array or None
        The labels that :meth:`predict` returns; None for a landscape.
    seed : int
    setup : training.setup.Setup
        All else that the run depends on, its data included except in a run of :func:`load`; :meth:`train` continues it.
    outcome : training.setup.Outcome
        The results from which the history is made.
    metrics : dict of str to (m,) float64 array
        What a callback has returned, and the rates of a run whose learning rate changes, by evaluated step.
    best_step : int or None
        With early stopping, the step of the best evaluation, whose weights the run has. None without it.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> data = lnb.datasets.load("checkerboard")
    >>> run = lnb.train(lnb.MLP((2, 8, 2)), data, lnb.AdamW(0.01), steps=50)
    >>> run.predict([[0.5, 0.5], [0.5, 1.5], [3.5, 2.5]]).shape  # raw rows: places on the board
    (3,)
    """

    history: pd.DataFrame
    params: np.ndarray
    state: Any
    diverged_at: int | None
    model: Any
    scaling: Scaling | None
    classes: np.ndarray | None
    seed: int
    setup: Setup
    outcome: Outcome
    metrics: dict[str, np.ndarray] = field(default_factory=dict)
    best_step: int | None = None

    @property
    def slow(self) -> np.ndarray | None:
        """The slow weights at the end, for EMA and Schedule-Free the average; None where there are none."""
        slow = self.state.optimizer.slow_from(self.params, self.state)
        return None if slow is None else readonly(slow)

    @default_errors
    def train(
        self,
        more_steps: int,
        *,
        data: Data = None,
        callback: Callable[[Snapshot], Any] | None = None,
        lr: float | Schedule | None = None,
    ) -> Run:
        """Continue this run and return the longer one; this one stays as it is.

        A run with early stopping continues from its best step, whose weights it has. Sweeps continue their runs with
        ``keep_states=True``, see :func:`lookahead_nb.sweep`.

        History, params and state are bit-for-bit those of one run of all steps, at any phase between two syncs. The
        history has the evaluations of that run: every ``eval_every`` steps, or at the steps of ``eval_at``, and at the
        end.

        Parameters
        ----------
        more_steps : int
            At least 1.
        data : Dataset, or function of the seed that returns one
            For a run of :func:`load`, whose file does not hold it: the data that it was trained on.
        callback : function, optional
            As in :func:`lookahead_nb.train`, for the new steps. Metrics of the steps so far stay.
        lr : float at least 0, or a schedule, optional
            The learning rate of the new steps; a schedule counts all steps of the run. The longer run then is that of
            :func:`schedules.piecewise <lookahead_nb.optimizers.schedules.piecewise>` with both rates, and its history
            has the column ``rate``. Default: that of the optimizer.

        Returns
        -------
        Run

        Raises
        ------
        TypeError, ValueError
            If more_steps is no such number, the learning rate has fallen to 0 ahead of the new end, the state has been
            changed since training, the run was trained on a GPU, data is missing or not that of the run, or lr is no
            rate for this optimizer or given for weights that have diverged.

        Examples
        --------
        >>> import lookahead_nb as lnb
        >>> run = lnb.train(lnb.landscapes.Quadratic([1.0]), None, lnb.SGD(0.5), steps=1, eval_every=1)
        >>> run.train(1).history["train_loss"].tolist()
        [0.5, 0.125, 0.03125]
        """
        opt, taken = self.state.optimizer, int(self.outcome.taken[0])
        so_far = self.setup.steps if self.best_step is None else self.best_step
        steps = so_far + whole_number("more_steps", more_steps, 1)
        if lr is None:
            check_horizon(opt, steps)
        check_callback(callback)
        if self.setup.training.backend != "cpu":
            raise ValueError(f"train can only continue a run of backend='cpu', got {self.setup.training.backend!r}")
        if self.state.t != taken:
            raise ValueError(f"state must be as training has left it, at step {taken}, got one at step {self.state.t}")
        setup = self._with_data(data)
        setup = replace(setup, training=replace(setup.training, steps=steps))
        params, state = self.params.copy(), copy.deepcopy(self.state, {id(opt): opt})
        if lr is not None:
            if self._weights_diverged:
                raise ValueError(f"lr must be None for a run that diverged at step {self.diverged_at}, got {shown(lr)}")
            follow_lr(setup, state, lr)
        return _trained(setup, self.seed, params, state, Watch(callback), shorter=self, shows_rate=lr is not None)

    def _with_data(self, data: Data) -> Setup:
        """Return the setup with data to train on, which are those of the run."""
        if data is None:
            if self.setup.model.needs_data and self.setup.data is None:
                raise ValueError("data must be that of the run to continue one from a file, which does not hold it")
            return self.setup
        setup = replace(self.setup, data=data).for_seed(self.seed)
        given, run = setup.run_id(self.state.optimizer, self.seed, setup.rows(self.seed)), self.history["run"].iloc[0]
        if given != run:
            raise ValueError(
                f"data must give the run its id {run}, got data, or a version of the formulas, with {given}"
            )
        return setup

    def plot(self, *, splits: Iterable[str] = ("train", "validation"), ax: Any = None) -> tuple[Axes, ...]:
        """Draw loss and accuracy over the steps, for fast and slow weights, with matplotlib.

        A colour and a marker belong to each kind of weights, and a dash to each split. Ticks at the lower edge mark the
        syncs, up to 60 of them. A loss that covers more than a factor of ten is drawn on a logarithmic axis.

        Parameters
        ----------
        splits : list of str
            "train", "validation" and "test", or one of them. A landscape has "train" only.
        ax : Axes, or list of one or two Axes, optional
            Where to draw the loss, and the accuracy if there are two. Default: a new figure of matplotlib.pyplot.

        Returns
        -------
        tuple of Axes
            ``axs[0].figure`` is the figure.

        Raises
        ------
        TypeError, ValueError
            If splits are unknown, or ax is no panel, or more than the run has measures.

        Examples
        --------
        >>> import lookahead_nb as lnb
        >>> run = lnb.train(lnb.landscapes.Quadratic([1.0]), None, lnb.Lookahead(lnb.SGD(0.5)), steps=20)
        >>> [ax.get_ylabel() for ax in run.plot()]
        ['loss']
        """
        return plot_run(self, splits, ax)

    def _repr_html_(self) -> str:
        """Return settings and results at the end as a table, and the losses over the steps as pictures."""
        end = self._end()
        rows: dict[str, Any] = {"model": self.model, "optimizer": self.state.optimizer}
        if isinstance(self.setup.data, Dataset):
            rows["data"] = self.setup.data.name
        clip_norm = self.setup.training.clip_norm
        rows |= {} if clip_norm is None else {"clip_norm": clip_norm}
        rows |= {"seed": self.seed, "steps": self.state.t, "parameters": len(self.params)}
        rows["diverged at step"] = self.diverged_at
        if self.best_step is not None and self.diverged_at is None:
            rows["stopped at step"] = self.setup.steps
        for measure in (f"{split} {what}" for what in ("loss", "accuracy") for split in SPLITS):
            values = end[["weights", measure.replace(" ", "_")]].dropna().itertuples(index=False)
            rows[measure] = ", ".join(f"{value:.4g} ({kind})" for kind, value in values) or None
        return shown_together("Run", rows, pictures_of(self))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the run to one file, from which :func:`load` returns it.

        Parameters
        ----------
        path : path
            Ends in .npz; an existing file is replaced as a whole.

        Raises
        ------
        TypeError, ValueError
            If path has another ending, or model, optimizer or columns are of a kind that the file cannot describe.
        OSError
            If the file cannot be written.

        Notes
        -----
        The file holds model, weights, optimizer and its state, scaling, class names and evaluations, without pickles,
        and the sha256 of its contents. It does not hold the rows of the data set. It takes as many bytes as weights and
        state: 16 for each weight of Lookahead(AdamW) in float32, and 4 more for its slow weights.

        Examples
        --------
        >>> import tempfile
        >>> import lookahead_nb as lnb
        >>> run = lnb.train(lnb.landscapes.Quadratic([1.0]), None, lnb.SGD(0.5), steps=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run.save(f"{folder}/run.npz")
        ...     lnb.load(f"{folder}/run.npz")
        Run(SGD, seed=0, 2 steps, 1 weights, train_loss=0.03125)
        """
        saved.write(path, self)

    def predict(self, X: Any, *, weights: str = "fast") -> np.ndarray:
        """Return the label of the most probable class of each raw row.

        Parameters
        ----------
        X : (rows, n_features) array
            Raw rows, as they were given to ``from_arrays``, before any scaling; a list of texts for a set of texts.
            At least one row.
        weights : str
            "fast" for the weights in ``params``, or "slow" for those in ``slow``.

        Returns
        -------
        (rows,) array
            Labels as the user gave them: entries of ``classes``.

        Raises
        ------
        TypeError, ValueError
            If X does not fit the data set, weights is unknown or the run has no such weights, the run diverged, or the
            model is a landscape.

        Notes
        -----
        On the rows of a part, the share of right labels is the accuracy in the last row of the history of these
        weights. One case differs: if the last step has a sync, the fast row of the history describes the weights ahead
        of the pull. ``params`` are then those after it; with ``pull_back`` they equal the slow weights.
        """
        numbers = self._predicted(DenseNetwork.predict, X, weights)
        return np.asarray(self.classes)[numbers]

    def predict_proba(self, X: Any, *, weights: str = "fast") -> np.ndarray:
        """Return the probability of each class for each raw row.

        Parameters
        ----------
        X : (rows, n_features) array
            As in :meth:`predict`.
        weights : str
            "fast" or "slow", as in :meth:`predict`.

        Returns
        -------
        (rows, n_classes) array
            In the dtype of the weights. Column i belongs to ``classes[i]``.

        Raises
        ------
        TypeError, ValueError
            As in :meth:`predict`.
        """
        return self._predicted(DenseNetwork.predict_proba, X, weights)

    def _predicted(self, predict: Callable[..., np.ndarray], X: Any, weights: str) -> np.ndarray:
        """Return what a method of the network predicts for raw rows, or refuse."""
        if not isinstance(self.model, DenseNetwork) or self.scaling is None:
            raise TypeError(f"predict needs a run of a network, got a run on {self.model!r}")
        if self._weights_diverged:
            at = f"this run diverged at step {self.diverged_at}"
            raise ValueError(f"predict needs finite weights, but {at}: train with a lower learning rate")
        chosen = self.params if one_of("weights", weights, KINDS) == "fast" else self.slow
        if chosen is None:
            kind = type(self.state.optimizer).__name__
            raise ValueError(f"weights must be 'fast' for {kind}, which has no slow weights, got 'slow'")
        if not np.isfinite(chosen).all():
            raise ValueError(f"the {weights} weights of this run must be finite to predict, got NaN or infinity")
        return predict(self.model, chosen, self.scaling(X))

    @property
    def _weights_diverged(self) -> bool:
        """Whether the weights are those of a run that diverged."""
        return self.diverged_at is not None and self.best_step is None

    def _end(self) -> pd.DataFrame:
        """Return the rows of the history at the step of the weights: the last, with early stopping the best one."""
        step = self.setup.steps if self.best_step is None else self.best_step
        return self.history[self.history["step"] == step]

    def __repr__(self) -> str:
        last = self._end().iloc[-1]
        end = "" if self.diverged_at is None else f", diverged at step {self.diverged_at}"
        steps = (
            f"{self.state.t} steps" if self.best_step is None else f"best step {self.best_step} of {self.setup.steps}"
        )
        return (
            f"Run({last['optimizer']}, seed={last['seed']}, {steps}, {len(self.params)} weights, "
            f"train_loss={last['train_loss']:.4g}{end})"
        )


@named_arguments
@default_errors
def train(
    model: Any,
    data: Data,
    opt: Optimizer,
    *,
    steps: int = 1000,
    batch_size: int = 64,
    seed: int = 0,
    eval_every: int = 50,
    eval_at: Iterable[int] | None = None,
    eval_rows: int = 10_000,
    dtype: Any = "float32",
    backend: str = "cpu",
    order: str = "shuffled",
    groups: Mapping[str, Mapping[str, float]] | None = None,
    clip_norm: float | None = None,
    callback: Callable[[Snapshot], Any] | None = None,
    early_stopping: EarlyStopping | None = None,
    reduce_on_plateau: ReduceOnPlateau | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 1000,
) -> Run:
    """Train a model once.

    The weights are bit-for-bit those of a manual loop of ``opt.step`` from ``model.init(seed, dtype)``. Its gradients
    are those of ``model.loss_and_grad`` on ``minibatches(n, batch_size, seed, order=order)``; for a landscape those of
    ``model.noisy_grad(params, seed, t)``, t from 1.

    Parameters
    ----------
    model : LogisticRegression, MLP or landscape, or an object of your own
        Your own has ``size``, ``init(seed, dtype)`` and ``loss_and_grad(params, X, y)``, see Notes.
    data : Dataset, or function of the seed that returns one
        None for a landscape, which does not use batch_size, eval_rows and order either.
    opt : Optimizer
        An inner optimizer, Lookahead or EMA.
    steps, batch_size : int
        At least 1.
    seed : int
        In [0, 2**63): of weights, minibatches and noise.
    eval_every : int
        Steps between two evaluations; at most steps, except that the default serves shorter runs too.
    eval_at : list of int, optional
        Steps to evaluate instead. Step 0 and the last are always evaluated.
    eval_rows : int
        A split with more rows is evaluated on this many fixed stratified rows.
    dtype : str
        "float32" or "float64".
    backend : str
        "cpu", or "cuda" to train on a GPU, from and to host memory; experimental until it has run on a device. Slow
        steps are never fitted there, and there is no silent fallback to the CPU.
    order : str
        "shuffled" draws the minibatches of each epoch again, "repeated" repeats those of the first epoch, in their
        order.
    groups : dict, optional
        Settings of groups of weights: ``{"b*": {"weight_decay": 0}}`` takes all biases out of the weight decay. A key
        is a part of the network or a pattern, as in file names: "W1", "b1", "W2", ... or "?2" for both parts of layer
        2. Its value has ``lr``, ``weight_decay`` (the peak, for a schedule) or both. Weights in no group keep the
        settings of opt. Not with backend "cuda", a landscape or an adaptive slow step. Where a group has its own lr,
        the rate of the run cannot be changed on a plateau, by a callback or where it continues.
    clip_norm : float, optional
        Above 0. A gradient whose Euclidean norm over all weights is larger is multiplied by ``clip_norm/norm``, see
        Notes. Not with backend "cuda" or a landscape.
    callback : function, optional
        Called at every evaluated step, until the run diverges, with a
        :class:`~lookahead_nb.training.callbacks.Snapshot`. It returns None, or a dict of numbers that become columns of
        the history. ``snapshot.set_lr(0.01)`` in it sets the learning rate of the following steps. ``raise
        StopIteration`` stops the run there, ``raise StopIteration({"name": 1.0})`` with metrics. Another exception
        comes out of train unchanged. Not with backend "cuda".
    early_stopping : EarlyStopping, optional
        Stops the run once a measure no longer improves; params, slow and state are then those of the best evaluated
        step, also of a run that diverges after it. Not with backend "cuda".
    reduce_on_plateau : ReduceOnPlateau, optional
        Lowers the learning rate once a measure no longer improves. Not with backend "cuda".
    checkpoint : path, optional
        A file that ends in .npz. The run so far is written to it on the way and at the end. If the file exists, the run
        continues from it. :func:`load` reads it at any time. Not with backend "cuda" or a model of your own.
    checkpoint_every : int
        At least 1: the steps between two checkpoints.

    Returns
    -------
    Run

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range, or callback returns something else.
    NoDeviceError, DeviceError, MemoryError
        With backend "cuda": no GPU can be used, it failed, or the run does not fit its memory.
    OSError
        If the checkpoint cannot be read or written.

    Notes
    -----
    Columns of the history:

    - ``run``: the first 16 hex digits of the hash of the configuration; ``seed``; the settings of opt. With groups,
      ``groups`` is a text with theirs.
    - ``step`` and ``phase`` (step mod sync_period).
    - ``weights``: "fast", and "slow" for the slow weights of Lookahead or the average of EMA or Schedule-Free.
    - ``train_loss``, ``validation_loss``, ``test_loss``: the mean cross-entropy without L2. For a landscape
      ``train_loss`` is the expected loss, the mean over its replicas, and the others are NaN.
    - ``train_accuracy``, ``validation_accuracy``, ``test_accuracy``. With a data set whose rows have weights
      (:meth:`~lookahead_nb.datasets.Dataset.with_sample_weight`) losses and accuracies are weighted means, and so is
      the loss of a minibatch. Not with backend "cuda".
    - ``status`` ("ok" or "diverged") and ``diverged_at``.
    - The metrics of a callback, in the rows of both kinds of weights.
    - ``rate``: the learning rate of the step, NaN at step 0. Only with reduce_on_plateau, or where a callback or
      :meth:`Run.train` has set another rate. ``lr`` is then the highest peak of all rates.

    A model of your own is trained step by step in Python, on the same minibatches. ``init`` returns the (size,) weights
    of a seed, ``loss_and_grad`` the mean loss of rows with its gradient; y holds the numbers of classes. Both return
    the same for the same arguments. A model with ``loss(params, X, y)`` is evaluated without gradients. One with
    ``predict(params, X)``, which returns numbers of classes, has accuracies. Of the model, the id of the run covers
    only class and size. Sweeps, files and :meth:`Run.predict` need a model of this package. Groups need
    ``model.parts``, a dict of slices of the weights by name, such as ``{"bias": slice(6, 9)}``.

    The norm of a gradient, L2 included, is the root of its squares, added up in float64 from the first weight to the
    last. A gradient within clip_norm stays as it is, bit for bit. This is the rule of Pascanu, Mikolov & Bengio 2013,
    Algorithm 1, and of ``optax.clip_by_global_norm``; ``torch.nn.utils.clip_grad_norm_`` divides by ``norm + 1e-6``. A
    gradient whose norm is NaN or infinite is not clipped: the run diverges there, as without clip_norm. For steps by
    hand there are :func:`lookahead_nb.optimizers.clip_gradient` and, with groups, ``run.state.optimizer``.

    A run that a callback or early stopping stops at step s has the history, and the id, of a run of s steps. Nothing of
    it depends on there being a callback. The weights are those of that run too, except that early stopping goes back to
    the best of its evaluated steps. A run whose rate changes is bit-for-bit one with ``run.state.optimizer``, whose
    learning rate is a :func:`schedules.piecewise <lookahead_nb.optimizers.schedules.piecewise>` one, and has its id.

    A process with a checkpoint may be killed at any moment. The same call then continues, and returns bit for bit the
    run without an interruption, except that ``state.slow_steps`` begins at the checkpoint. The file appears complete or
    not at all. One of other settings is refused; checkpoint_every and callback may differ. The callback is called again
    for the steps after the checkpoint, and what it keeps for itself is not in the file.

    At a step with a sync, fast weights are evaluated ahead of the pull and slow weights after it. A run stops at the
    step where the minibatch loss, the gradient (as ``step`` checks it) or a weight stops being finite. From that step
    on, its rows hold NaN and "diverged". So does a row whose own loss is not finite.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> run = lnb.train(lnb.landscapes.Quadratic([1.0]), None, lnb.SGD(0.5), steps=2, eval_every=1)
    >>> run.history["train_loss"].tolist()
    [0.5, 0.125, 0.03125]

    No weight decay of biases, and clipped gradients:

    >>> data, model = lnb.datasets.load("checkerboard"), lnb.MLP((2, 8, 2))
    >>> how = {"steps": 50, "groups": {"b*": {"weight_decay": 0}}, "clip_norm": 1.0}
    >>> lnb.train(model, data, lnb.AdamW(0.01, weight_decay=0.1), **how).history["groups"].iloc[0]
    'b*: weight_decay=0.0'

    A long run, which continues where it was if this is called again:

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = f"{folder.name}/long.npz"
    >>> data, model = lnb.datasets.load("checkerboard"), lnb.MLP((2, 8, 2))
    >>> run = lnb.train(model, data, lnb.AdamW(), steps=500, checkpoint=file, checkpoint_every=100)
    >>> lnb.load(file).state.t
    500
    >>> folder.cleanup()
    """
    settings = backend, order, groups, clip_norm
    training = Training(steps, batch_size, eval_every, eval_at, eval_rows, dtype, *settings)
    if is_own_model(model) and not isinstance(model, (DenseNetwork, Landscape)):
        model = OwnModel(model)
        if training.backend != "cpu":
            raise ValueError(f"backend must be 'cpu' for a model of your own, got {training.backend!r}")
    setup = Setup(model, data, training)
    seed = whole_number("seed", seed, 0, HIGHEST_SEED)
    opt = setup.accepted("opt", opt)
    setup = setup.for_seed(seed)
    check_callback(callback)
    check_rule("early_stopping", EarlyStopping, early_stopping, setup, opt)
    check_rule("reduce_on_plateau", ReduceOnPlateau, reduce_on_plateau, setup, opt)
    watch = Watch(callback, early_stopping, reduce_on_plateau)
    for name, value in watch._asdict().items():
        if setup.training.backend != "cpu" and value is not None:
            raise ValueError(f"{name} must be None with backend='cuda': runs stop at evaluated steps on the CPU only")
    if setup.training.backend != "cpu" and checkpoint is not None:
        raise ValueError(
            f"checkpoint must be None with backend='cuda', got {shown(checkpoint)}: runs continue on the CPU"
        )
    params = model.init(seed, setup.dtype)
    file = None
    if checkpoint is not None:
        file = Checkpoint(checkpoint, checkpoint_every, setup, opt, seed, setup.rows(seed), watch)
    return _trained(setup, seed, params, opt.init(params), watch, file=file)


@named_arguments
def load(path: str | os.PathLike[str]) -> Run:
    """Return the run that :meth:`Run.save` wrote to a file, or the run so far of a checkpoint of :func:`train`.

    Its predictions, weights, state and history are those of the saved run in every bit.

    Parameters
    ----------
    path : path

    Returns
    -------
    Run
        Without the rows of its data set; its method ``train`` needs them to continue it.

    Raises
    ------
    ValueError
        If the file is damaged, of another kind or of a newer version.
    OSError
        If it cannot be read.
    ModuleNotFoundError
        If the run is one on weighted words, and scikit-learn is missing.

    Notes
    -----
    Nothing in the file is executed. ``state.slow_steps`` starts empty, as after ``opt.restore``.

    The run so far of a checkpoint is the one that would have ended at its step. With early stopping it has the best
    weights up to there, and ``state.t`` is ``best_step``. The file also holds the latest weights: the same call of
    :func:`train` continues from them.

    Examples
    --------
    >>> import tempfile
    >>> import lookahead_nb as lnb
    >>> data = lnb.datasets.load("checkerboard")
    >>> run = lnb.train(lnb.MLP((2, 8, 2)), data, lnb.AdamW(0.01), steps=50)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run.save(f"{folder}/run.npz")
    ...     loaded = lnb.load(f"{folder}/run.npz")
    >>> rows = [[0.5, 0.5], [0.5, 1.5], [3.5, 2.5]]
    >>> (loaded.predict_proba(rows) == run.predict_proba(rows)).all()
    np.True_
    """
    parts = saved.read(path)
    setup, seed, opt = parts["setup"], parts["seed"], parts["state"].optimizer
    history = _history(setup, opt, seed, parts["run"], parts["outcome"], parts["metrics"])
    ends = parts["outcome"].diverged_at
    weights, of_data = (parts["params"], parts["state"]), (parts["scaling"], parts["classes"])
    of_run = setup, parts["outcome"], parts["metrics"], parts["best_step"]
    return Run(history, *weights, _first(ends), setup.model, *of_data, seed, *of_run)


def _history(
    setup: Setup, opt: Optimizer, seed: int, run_id: str, outcome: Outcome, metrics: dict[str, np.ndarray]
) -> pd.DataFrame:
    """Return the history of one run."""
    runs = settings_frame([opt]), slow_rows([opt]), np.array([0]), [run_id], [seed]
    history = histories(setup, *runs, outcome.results, outcome.diverged_at)
    at = np.searchsorted(setup.eval_steps, history["step"])
    return history.assign(**{name: values[at] for name, values in metrics.items()}) if metrics else history


def _first(diverged_at: np.ndarray) -> int | None:
    """Return the step at which the first run diverged, or None."""
    return None if diverged_at[0] < 0 else int(diverged_at[0])


def _trained(
    setup: Setup,
    seed: int,
    params: np.ndarray,
    state: State,
    watch: Watch,
    *,
    shorter: Run | None = None,
    shows_rate: bool = False,
    file: Checkpoint | None = None,
) -> Run:
    """Train these weights in place and return the run, whose first steps are those of a shorter one."""
    rows, opt, begun = setup.rows(seed), state.optimizer, state.t
    shows_rate = shows_rate or watch.reduce_on_plateau is not None

    def as_run(done: Observed) -> Run:
        setup, outcome, metrics, params, state, best_step = done
        if shorter is not None:
            setup.take_over(outcome.results, shorter.setup, shorter.outcome.results, begun)
            metrics = _joined(setup, metrics, shorter)
        if shows_rate or RATE in metrics or state.optimizer != opt:
            rates = np.concatenate([[np.nan], state.optimizer.inner.schedule.rates(setup.steps)])
            metrics = {name: values for name, values in metrics.items() if name != RATE}
            metrics[RATE] = rates[setup.eval_steps]  # the last column
        run_id, ends = setup.run_id(state.optimizer, seed, rows), _first(outcome.diverged_at)
        history = _history(setup, state.optimizer, seed, run_id, outcome, metrics)
        scaling, classes = (setup.data.scaling, setup.data.classes) if isinstance(setup.data, Dataset) else (None, None)
        model = setup.model.model if isinstance(setup.model, OwnModel) else setup.model
        of_run = setup, outcome, metrics, best_step
        return Run(history, params, state, ends, model, scaling, classes, seed, *of_run)

    if shorter is not None and shorter._weights_diverged:
        outcome = shorter.outcome._replace(results=setup.blank_results(1))
        return as_run(Observed(setup, outcome, {}, params, state, None))
    if watch == Watch() and file is None:
        outcome = train_in_place(setup, opt, seed, rows, params, state)
        return as_run(Observed(setup, outcome, {}, params, state, None))
    blank = Outcome(setup.blank_results(1), np.array([-1]), np.array([0]))
    columns = {*_history(setup, opt, seed, "", blank, {}), RATE}

    def train_to(end: Setup, params: np.ndarray, state: State) -> Outcome:
        return train_in_place(end, state.optimizer, seed, rows, params, state)

    if file is None:
        return as_run(train_observed(setup, params, state, train_to, watch, columns))

    def save(so_far: Observed, current: Weights) -> None:
        file.write(as_run(so_far), current)

    resumed = file.read()
    if resumed is not None and resumed.finished:
        return as_run(resumed.observed._replace(setup=replace(resumed.observed.setup, data=setup.data)))
    so_far, weights = (None, (params, state)) if resumed is None else (resumed.observed, resumed.weights)
    done = train_observed(setup, *weights, train_to, watch, columns, file.steps, save, so_far)
    run = as_run(done)
    file.write(run, None)
    return run


def _joined(setup: Setup, metrics: dict[str, np.ndarray], shorter: Run) -> dict[str, np.ndarray]:
    """Return the metrics of a longer run: its own from where the shorter one ended, else those of the shorter one."""
    joined = metrics_of(setup, shorter.setup, shorter.metrics)
    new = setup.eval_steps > shorter.state.t
    for name, values in metrics.items():
        joined.setdefault(name, np.full(len(setup.eval_steps), np.nan))[new] = values[new]
    return joined


def train_in_place(
    setup: Setup,
    opt: Optimizer,
    seed: int,
    rows: Rows,
    params: np.ndarray,
    state: State,
    keep_going: Callable[[], bool] = always,
    snapshot_at: Collection[int] = (),
    snapshot: Callable[[], None] | None = None,
) -> Outcome:
    """Train one run from these weights, in place, on the backend of the setup.

    Parameters
    ----------
    setup, opt, seed, rows, params, state, keep_going, snapshot_at, snapshot
        As in :func:`engine_cpu.train_network`; snapshots are taken of networks on the CPU only.

    Returns
    -------
    Outcome
        Of one run.
    """
    if setup.training.backend == "cuda":
        from lookahead_nb.training import engine_gpu as on_device

        return on_device.train_one(setup, opt, seed, rows, params, state, keep_going)
    if isinstance(setup.model, OwnModel):
        return engine_python.train_own_model(setup, opt, seed, rows, params, state, keep_going)
    if not setup.model.needs_data:
        return engine_cpu.train_on_landscape(setup, [opt], seed, [params], [state], keep_going)
    return engine_cpu.train_network(setup, opt, seed, rows, params, state, keep_going, snapshot_at, snapshot)


def weights_at(
    landscape: Landscape, opts: list[Optimizer], at: list[int], *, seed: int = 0, dtype: Any = "float32"
) -> np.ndarray:
    """Train optimizers on a landscape and return the weights that each of them has after chosen steps.

    All of them meet the same starting points and noise. The weights are bit-for-bit those of :func:`train` for as many
    steps: those after the sync, at a step with one.

    Parameters
    ----------
    landscape : landscape
    opts : list of Optimizer
    at : list of int
        Steps, each at least 1, rising.
    seed, dtype
        As in :func:`train`.

    Returns
    -------
    (len(opts), len(at), 2, size) array
        Fast and slow weights. Slow is NaN without slow weights; all is NaN from the step where a run diverged.

    Raises
    ------
    TypeError, ValueError
        If an argument has another type or lies out of range.
    """
    if not isinstance(landscape, Landscape):
        raise TypeError(f"landscape must be a landscape, got {shown(landscape)}")
    if isinstance(opts, Optimizer) or not np.iterable(opts):
        raise TypeError(f"opts must be a list of optimizers, got {shown(opts)}")
    opts = [check_optimizer(f"opts[{i}]", opt) for i, opt in enumerate(opts)]
    at, seed = rising_steps("at", at), whole_number("seed", seed, 0, HIGHEST_SEED)
    setup = Setup(landscape, None, Training(steps=at[-1], eval_every=at[-1], dtype=dtype))
    params = [landscape.init(seed, setup.dtype) for _ in opts]
    states = [opt.init(p) for opt, p in zip(opts, params, strict=True)]
    weights = np.full((len(opts), len(at), len(KINDS), landscape.size), np.nan, setup.dtype)

    def keep(step: int, diverged_at: np.ndarray) -> None:
        for i in np.flatnonzero(diverged_at < 0):
            weights[i, at.index(step), 0] = params[i]
            if opts[i].has_slow_weights:
                weights[i, at.index(step), 1] = opts[i].slow_from(params[i], states[i])

    engine_cpu.train_on_landscape(setup, opts, seed, params, states, snapshot_at=at, snapshot=keep)
    return weights
