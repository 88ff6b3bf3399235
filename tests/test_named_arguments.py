"""A name or a number of arguments that a public function does not have is refused with the right names."""

import inspect

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb import datasets, theory
from lookahead_nb.models import games, landscapes
from lookahead_nb.optimizers import schedules

PUBLIC = {
    f"{module.__name__.removeprefix('lookahead_nb.')}.{name}": getattr(module, name)
    for module, names in (
        (
            lnb,
            [
                name
                for name in lnb.__all__
                if name not in {"adapters", "agents", "grid", "sample", "datasets", "games"}
                and name not in {"landscapes", "schedules", "theory"}
            ],
        ),
        (datasets, ["from_arrays", "load", "available", "read_rows", "stratified_rows"]),
        (
            theory,
            [name for name in theory.__all__ if not name.isupper() and name not in ("BestSync", "Transient", "Tuned")],
        ),
        (schedules, ["Schedule", "constant", "linear", "cosine"]),
        (
            games,
            [
                *("BilinearGame", "MatrixGame", "RingGame", "WassersteinGame"),
                *("matching_pennies", "rock_paper_scissors", "examples"),
            ],
        ),
        (lnb.agents, ["CartPole", "Policy", "PPO", "PolicyGradient", "train", "sweep"]),
        (landscapes, ["Quadratic", "DoubleWell", "Bilinear", "Rosenbrock", "trace", "replay"]),
    )
    for name in names
}


@pytest.mark.parametrize("name", PUBLIC)
def test_an_unknown_name_is_refused_with_the_right_ones(name):
    function = PUBLIC[name]
    names = [*inspect.signature(function).parameters]
    with pytest.raises(TypeError) as caught:
        function(no_such_argument=1)
    assert str(caught.value) == (
        f"{function.__name__} has no argument no_such_argument; its arguments are {', '.join(names)}"
    )


@pytest.mark.parametrize("name", PUBLIC)
def test_help_and_editors_see_the_signature(name):
    function = PUBLIC[name]
    parameters = inspect.signature(function).parameters.values()
    assert not {parameter.kind for parameter in parameters} & {
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    }
    assert inspect.getdoc(function)
    assert "checks.py" not in inspect.getsourcefile(inspect.unwrap(function))


OF_OPTIMIZER = "(the optimizer has {}: Lookahead(AdamW(lr=0.001), sync_period=5))"
CASES = {
    "train k": (lambda: lnb.train(k=5), f"train has no argument k {OF_OPTIMIZER.format('sync_period')}; its arguments"),
    "train lr": (lambda: lnb.train(lr=0.1), f"train has no argument lr {OF_OPTIMIZER.format('it')}; its"),
    "sweep alpha": (
        lambda: lnb.sweep(alpha=0.5),
        f"sweep has no argument alpha {OF_OPTIMIZER.format('slow_step_size or retention')}; its",
    ),
    "train betas": (lambda: lnb.train(betas=(0.9, 0.99)), f"betas {OF_OPTIMIZER.format('beta1 and beta2')}"),
    "train optimizer": (lambda: lnb.train(optimizer=lnb.SGD()), "no argument optimizer (did you mean opt?)"),
    "sweep optimizer": (lambda: lnb.sweep(optimizer=lnb.SGD()), "no argument optimizer (did you mean configs?)"),
    "train epochs": (lambda: lnb.train(epochs=3), "no argument epochs (did you mean steps?)"),
    "train batchsize": (lambda: lnb.train(batchsize=3), "no argument batchsize (did you mean batch_size?)"),
    "MLP hidden": (lambda: lnb.MLP(hidden=3), "MLP has no argument hidden (did you mean widths?)"),
    "MLP in turn": (
        lambda: lnb.MLP(64, 32, 10),
        "MLP accepts widths as one tuple: MLP((64, 32, 10)), got 3 arguments",
    ),
    "Quadratic in turn": (
        lambda: landscapes.Quadratic(1.0, 0.1),
        "Quadratic accepts curvatures as one tuple: Quadratic((1.0, 0.1)), got 2 arguments",
    ),
    "LogisticRegression in turn": (
        lambda: lnb.LogisticRegression(64, 10),
        "LogisticRegression accepts only n_features as positional argument, got 2 arguments: write the others by name",
    ),
    "Cycle in turn": (
        lambda: theory.Cycle(0.1),
        "Cycle accepts no positional argument, got 1 arguments: write the others by name",
    ),
    "theory k": (
        lambda: theory.sgd_rate(0.1, 1.0, k=5, slow_step_size=0.5),
        "sgd_rate has no argument k (did you mean sync_period?)",
    ),
    "grid k": (lambda: lnb.grid(lnb.Lookahead(lnb.SGD()), k=[5]), "got 'k' (did you mean sync_period?)"),
    "sample betas": (lambda: lnb.sample(lnb.SGD(), 8, betas=[0.9]), "an axis must be one of lr, "),
    "plot": (lambda: lnb.plot(ax=None, weight="slow"), "plot has no argument weight (did you mean weights?)"),
    "Adaptive": (lambda: lnb.Adaptive(low=0.5), "Adaptive has no argument low (did you mean lowest?)"),
    "load": (lambda: datasets.load("iris", random_state=0), "no argument random_state (did you mean split_seed?)"),
    "from_arrays": (lambda: datasets.from_arrays(np.eye(3), target=[1]), "no argument target (did you mean y?)"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_names_of_others_lead_to_the_right_ones(case):
    call, words = CASES[case]
    with pytest.raises(TypeError) as caught:
        call()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
