"""A sweep in a TOML file: it means what Python would, and what is wrong is said in one sentence with the dotted key."""

import pickle
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lookahead_nb as lnb
from lookahead_nb.training import sweep_file as configuration

SMALL = {
    "model": 'kind = "MLP"\nwidths = [5, 4, 3]',
    "data": 'file = "mine.npz"',
    "training": "seeds = 2\nsteps = 20\nbatch_size = 8\neval_every = 10",
    "grid": 'optimizer = "AdamW"\nlr = [1e-3, 1e-2]',
}
OWN = {"X": np.random.default_rng(1).normal(size=(60, 5)), "y": np.arange(60) % 3}


def write(folder, head="", **changes):
    """Write a small sweep with some tables changed; grid may be a list."""
    tables = SMALL | changes
    text = textwrap.dedent(head) + "\n"
    for name, lines in tables.items():
        for one in [lines] if isinstance(lines, str) else lines or []:
            text += (f"[[{name}]]" if name in ("grid", "sample") else f"[{name}]") + f"\n{one}\n"
    np.savez(folder / "mine.npz", **OWN)
    path = folder / "sweep.toml"
    path.write_text(text, encoding="utf-8")
    return path


def read(folder, head="", **changes):
    return configuration.read(write(folder, head, **changes))


def test_the_example_is_what_python_would_say(tmp_path):
    pytest.importorskip("sklearn")
    path = tmp_path / "example.toml"
    path.write_text(configuration.EXAMPLE, encoding="utf-8")
    found = configuration.read(path)
    assert found.model == lnb.MLP((64, 32, 10), activation="relu")
    assert found.data(3).fingerprint == lnb.datasets.load("digits", split_seed=3).fingerprint
    assert found.training == {"seeds": 30, "steps": 1000, "eval_every": 100}
    assert found.store == tmp_path / "build/first_sweep"
    lr = [1e-3, 3e-3, 1e-2]
    scheduled = lnb.Lookahead(lnb.AdamW(lr=lnb.schedules.cosine(1.0, 1000, warmup=50)))
    expected = lnb.grid(lnb.AdamW(), lr={"low": 1e-4, "high": 0.1, "number": 13})
    expected += lnb.grid(scheduled, lr=lr, retention=[0.5, 0.9], sync_period=[5, 20])
    ranges = {"lr": {"low": 1e-4, "high": 0.1}, "sync_period": {"low": 1, "high": 50}}
    expected += lnb.sample(lnb.Lookahead(lnb.AdamW()), 64, **ranges, inner_state=["keep", "reset"])
    assert found.configs == expected


def test_every_setting_may_be_a_number_or_a_list(tmp_path):
    grids = [
        'optimizer = "SGD"\nlr = 0.1\nmomentum = [0.0, 0.9]',
        'optimizer = "Lookahead"\ninner = "Adam"\npull_back = [true, false]\nsync_period = 7',
        'optimizer = "RMSprop"\nschedule = { kind = "linear", steps = 15 }',
        'optimizer = "Adagrad"\nschedule = { kind = "constant", warmup = 5 }\nlr = 0.5',
        'optimizer = "Lookahead"\ninner = "AdamW"\nslow_step_size = ["adaptive", 0.5, [0.5, 0.3]]',
        'optimizer = "Lookahead"\ninner = "SGD"\nouter_momentum = [0.0, 0.9]\nouter_nesterov = false',
        'optimizer = "EMA"\ninner = "AdamW"\nwindow = [10, 50.5]\nlr = 0.1',
        'optimizer = "ScheduleFreeAdamW"\nschedule = { kind = "constant", warmup = 5 }\nbeta1 = 0.95',
    ]
    found = read(tmp_path, grid=grids).configs
    assert found == [
        lnb.SGD(lr=0.1),
        lnb.SGD(lr=0.1, momentum=0.9),
        lnb.Lookahead(lnb.Adam(), sync_period=7),
        lnb.Lookahead(lnb.Adam(), sync_period=7, pull_back=False),
        lnb.RMSprop(lr=lnb.schedules.linear(1e-2, 15)),
        lnb.Adagrad(lr=lnb.schedules.constant(0.5, warmup=5)),
        *(lnb.Lookahead(lnb.AdamW(), slow_step_size=step) for step in ("adaptive", 0.5, (0.5, 0.3))),
        *(lnb.Lookahead(lnb.SGD(), outer_momentum=momentum) for momentum in (0.0, 0.9)),
        *(lnb.EMA(lnb.AdamW(0.1), window=window) for window in (10, 50.5)),
        lnb.ScheduleFreeAdamW(lr=lnb.schedules.constant(2.5e-3, warmup=5), beta1=0.95),
    ]


def test_a_range_is_an_axis_of_a_grid(tmp_path):
    table = """optimizer = "Lookahead"
    inner = "SGD"
    lr = { low = 0.1, high = 10, number = 3 }
    retention = { low = 0.5, high = 0.9, number = 3 }"""
    expected = lnb.grid(lnb.Lookahead(lnb.SGD()), lr=[0.1, 1.0, 10.0], retention=[0.5, 0.7, 0.9])
    assert read(tmp_path, grid=table).configs == expected


def test_a_sample_has_the_schedule_and_the_fixed_settings_of_its_table(tmp_path):
    table = """optimizer = "AdamW"
    number = 4
    method = "random"
    seed = 3
    lr = { low = 1e-3, high = 1 }
    weight_decay = 0.5
    schedule = { kind = "cosine" }"""
    configs = read(tmp_path, grid=[], sample=[table]).configs
    base = lnb.AdamW(lnb.schedules.cosine(1.0, 20), weight_decay=0.5)
    assert configs == lnb.sample(base, 4, method="random", seed=3, lr={"low": 1e-3, "high": 1})
    assert {opt.lr.steps for opt in configs} == {20}


def test_samples_follow_all_grids(tmp_path):
    table = 'optimizer = "SGD"\nnumber = 2\nlr = { low = 0.1, high = 1 }'
    names = [type(opt).__name__ for opt in read(tmp_path, sample=[table, table.replace("SGD", "Adam")]).configs]
    assert names == ["AdamW", "AdamW", "SGD", "SGD", "Adam", "Adam"]


def test_a_schedule_falls_until_the_last_step(tmp_path):
    found = read(tmp_path, grid='optimizer = "AdamW"\nschedule = { kind = "cosine" }').configs
    assert found == [lnb.AdamW(lr=lnb.schedules.cosine(1e-3, 20))]
    found = read(tmp_path, grid='optimizer = "AdamW"\nschedule = { kind = "linear", decay_steps = 4 }').configs
    assert found == [lnb.AdamW(lr=lnb.schedules.linear(1e-3, 20, decay_steps=4))]
    assert found[0].settings()["decay_steps"] == 4


def test_a_schedule_with_restarts(tmp_path):
    shape = '{ kind = "cosine_restarts", period = 4, factor = 2, warmup = 2 }'
    found = read(tmp_path, grid=f'optimizer = "AdamW"\nlr = [0.1, 0.2]\nschedule = {shape}').configs
    assert found == [lnb.AdamW(lnb.schedules.cosine_restarts(lr, 4, factor=2, warmup=2)) for lr in (0.1, 0.2)]
    with pytest.raises(ValueError, match=r"grid\[0\]\.schedule\.period must be a whole number of at least 1, got None"):
        read(tmp_path, grid='optimizer = "AdamW"\nschedule = { kind = "cosine_restarts" }')


def test_a_table_shapes_the_weight_decay(tmp_path):
    table = 'optimizer = "AdamW"\nweight_decay = [0.1, 0.2]\nweight_decay_schedule = { kind = "linear", warmup = 3 }'
    falling = [lnb.schedules.linear(peak, 20, warmup=3) for peak in (0.1, 0.2)]
    assert read(tmp_path, grid=table).configs == [lnb.AdamW(weight_decay=decay) for decay in falling]
    both = table + '\nschedule = { kind = "cosine" }'
    cosine = lnb.schedules.cosine(1e-3, 20)
    assert read(tmp_path, grid=both).configs == [lnb.AdamW(cosine, weight_decay=decay) for decay in falling]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            'optimizer = "Adam"\nweight_decay_schedule = { kind = "linear" }',
            r"grid\[0\]\.weight_decay must be given with weight_decay_schedule, since it is 0 in Adam",
        ),
        (
            'optimizer = "AdamW"\nweight_decay_schedule = { kind = "linear", stops = 3 }',
            r"grid\[0\]\.weight_decay_schedule\.stops",
        ),
        (
            'optimizer = "AdamW"\nweight_decay_schedule = { kind = "linear", warmup = 30 }',
            r"grid\[0\]\.weight_decay_schedule\.steps must be a whole number of at least 31, got 20",
        ),
    ],
)
def test_a_bad_shape_of_the_weight_decay_is_refused(table, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, grid=table)


def test_a_landscape_comes_without_data(tmp_path):
    model = 'kind = "Quadratic"\ncurvatures = [1.0, 100.0]\nnoise = 0.5\nreplicas = 8'
    training = "seeds = 2\nsteps = 20\neval_every = 10"
    found = read(tmp_path, model=model, data=[], training=training)
    expected = lnb.landscapes.Quadratic([1.0, 100.0], noise=0.5, replicas=8)
    assert (found.model.settings(), found.data) == (expected.settings(), None)
    assert configuration.estimate(found.plan()).runs == 4


def test_logistic_regression_and_one_split(tmp_path):
    model = 'kind = "LogisticRegression"\nn_features = 5\nn_classes = 3\nl2 = 0.1'
    found = read(tmp_path, model=model, data='file = "mine.npz"\nsplit_seed = 5')
    assert found.model == lnb.LogisticRegression(5, n_classes=3, l2=0.1)
    assert found.data.fingerprint == lnb.datasets.from_arrays(**OWN, split_seed=5).fingerprint
    assert found.store is None


def test_data_of_every_split_goes_to_other_processes(tmp_path):
    data = read(tmp_path, data='file = "mine.npz"\nsplit_seed = "per seed"').data
    assert pickle.loads(pickle.dumps(data))(7).split_seed == 7


def test_a_table_of_numbers_may_be_the_data(tmp_path):
    rows = [",".join(map(str, [*row, label])) for row, label in zip(OWN["X"].tolist(), OWN["y"], strict=True)]
    (tmp_path / "mine.csv").write_text("\n".join(["a,b,c,d,e,kind", *rows]), encoding="utf-8")
    found = read(tmp_path, data='file = "mine.csv"\nlabel = "kind"\nsplit_seed = 2').data
    assert found.fingerprint == lnb.datasets.from_arrays(**OWN, split_seed=2).fingerprint


def test_a_store_may_be_named_in_its_place(tmp_path):
    path = write(tmp_path, head='store = "here"')
    assert configuration.read(path).store == tmp_path / "here"
    assert configuration.read(path, store="there").store.as_posix() == "there"


CASES = [
    ({"grid": 'optimizer = "Lookahead"\ninner = "SGD"\nk = 5'}, "grid[0].k is not known (did you mean sync_period?)"),
    ({"grid": 'optimizer = "AdamW"\nbetas = 0.5'}, "grid[0].betas is not known (did you mean beta1 and beta2?)"),
    (
        {"head": 'stor = "x"'},
        "stor is not known (did you mean store?); allowed: store, keep_states, model, data, training, grid, sample",
    ),
    ({"head": "store = 3"}, "store must be the path of a folder, got 3"),
    ({"head": "store = "}, "must be a TOML file: Invalid value (at line 1, column 9)"),
    ({"model": []}, "model must be a table, got nothing"),
    ({"model": [], "head": 'model = "MLP"'}, "model must be a table, got 'MLP'"),
    ({"model": "widths = [20, 10]"}, "model.kind must be one of 'MLP', 'LogisticRegression', 'Quadratic', "),
    ({"model": 'kind = "mlp"'}, "'Rosenbrock', got 'mlp'"),
    ({"model": 'kind = "MLP"'}, "model.widths must be given for MLP, got nothing"),
    ({"model": 'kind = "MLP"\nwidths = 3'}, "model.widths must be a sequence such as (64, 32, 10), got 3"),
    ({"model": 'kind = "MLP"\nwidths = [20, 2.5, 10]'}, "model.widths[1] must be a whole number"),
    ({"model": 'kind = "MLP"\nwidth = [20, 10]'}, "model.width is not known (did you mean widths?)"),
    ({"model": 'kind = "MLP"\nwidths = [20, 10]\nactivation = "rlu"'}, "model.activation must be one of"),
    ({"data": []}, "data must be a table, got nothing"),
    ({"model": 'kind = "Rosenbrock"'}, "data must be absent for a landscape such as Rosenbrock; remove the table"),
    (
        {"model": 'kind = "Quadratic"\ncurvatures = [-1]', "data": []},
        "model.curvatures[0] must be a finite number above",
    ),
    ({"data": 'nam = "digits"'}, 'data must have either a name, such as "digits", or the file of your own data'),
    ({"data": 'name = "digits"\nfile = "x.npz"'}, "data must have either a name"),
    ({"data": 'name = "digit"'}, "data.name must be one of 'digits', "),
    ({"data": 'file = "mine.npz"\nsplit_seed = "per sed"'}, "data.split_seed must be one of 'per seed', got"),
    ({"data": 'file = "mine.npz"\nsplit_seed = -1'}, "data.split_seed must be a whole number from 0"),
    ({"data": 'name = "gaussian_blobs"\nlabel = "y"'}, "data.label is not known; allowed: name, split_seed"),
    ({"data": 'file = "x.txt"'}, "data.file must be the path of an .npz or .csv file, got 'x.txt'"),
    ({"data": 'file = "x.csv"'}, "data.label must be a column name for a .csv file"),
    ({"data": 'file = "absent.npz"'}, "absent.npz cannot be read: No such file or directory"),
    ({"training": "steps = 20"}, "training.seeds must be a number of seeds or a list of them, got nothing"),
    ({"training": "seeds = 2\nstep = 20"}, "training.step is not known (did you mean steps?); allowed: seeds, steps"),
    (
        {"training": "seeds = 2\neval_at = [1]\neval_every = 5"},
        "training.eval_at and training.eval_every",
    ),
    ({"training": "seeds = 2\nsteps = 0"}, "training.steps must be a whole number of at least 1, got 0"),
    ({"training": "seeds = 2\nsteps = 2.0"}, "training.steps must be a whole number of at least 1, got 2.0"),
    ({"training": "seeds = true"}, "training.seeds must be a whole number of at least 1, got True"),
    ({"training": "seeds = []"}, "training.seeds must hold at least one seed, got none"),
    ({"training": "seeds = [1, 1]"}, "training.seeds must all differ, got 1 twice"),
    ({"training": 'seeds = [1, "a"]'}, "training.seeds[1] must be a whole number"),
    ({"training": "seeds = 1\nsteps = 80\neval_at = [81]"}, "training.eval_at[0] must be a whole number from 0 to 80"),
    ({"training": "seeds = 1\nbatch_size = 9000"}, "training.batch_size must be at most the 36 rows"),
    ({"training": 'seeds = 1\ndtype = "float16"'}, "training.dtype must be one of 'float32', 'float64', got 'float16'"),
    ({"model": 'kind = "MLP"\nwidths = [6, 3]'}, "data must have the features and classes of MLP((6, 3)"),
    ({"grid": []}, "grid must hold at least one table [[grid]] with an optimizer, or [[sample]] one, got none"),
    ({"grid": [], "head": "grid = []"}, "grid must hold at least one table [[grid]] with an optimizer, got none"),
    ({"grid": [], "head": "grid = 3"}, "grid must hold at least one table [[grid]] with an optimizer, got 3"),
    ({"grid": [], "head": "grid = [3]"}, "grid[0] must be a table, got 3"),
    (
        {"grid": "lr = 1"},
        "grid[0].optimizer must be one of 'SGD', 'Adagrad', 'RMSprop', 'Adam', 'AdamW', 'ScheduleFreeAdamW', 'Lookahe",
    ),
    (
        {"grid": 'optimizer = "ScheduleFreeAdamW"\nschedule = { kind = "cosine" }'},
        "grid[0].schedule.lr must be a number or a constant schedule",
    ),
    (
        {"grid": 'optimizer = "Lookahead"\ninner = "ScheduleFreeAdamW"'},
        "grid[0].inner must be one of SGD, Adagrad, RMSprop, Adam, AdamW, got ScheduleFreeAdamW(",
    ),
    ({"grid": 'optimizer = "Adamw"'}, "grid[0].optimizer must be one of"),
    ({"grid": 'optimizer = "Lookahead"'}, "grid[0].inner must be one of 'SGD', "),
    ({"grid": 'optimizer = "AdamW"\ninner = "Adam"'}, "grid[0].inner is not known"),
    (
        {"grid": ['optimizer = "SGD"', 'optimizer = "AdamW"\nepsilon = 1']},
        "grid[1].epsilon is not known (did you mean ep",
    ),
    ({"grid": 'optimizer = "AdamW"\nretention = 0.5'}, "grid[0].retention is not known; allowed: beta1, "),
    ({"grid": 'optimizer = "AdamW"\nlr = ' + str([1] * 1001) + "\neps = " + str([1] * 1000)}, "got 1,001,000: split"),
    (
        {"training": "seeds = 1\nsteps = 1_000_000_000"},
        "training.steps must be at most 10,000,000, got 1,000,000,000",
    ),
    (
        {"training": "seeds = 1_000_000_000_000"},
        "training.seeds must be at most 1,000,000, got 1,000,000,000,000",
    ),
    ({"grid": 'optimizer = "AdamW"\nlr = []'}, "grid[0].lr must hold at least one value, got none"),
    ({"grid": 'optimizer = "AdamW"\nlr = [1, "x"]'}, "grid[0].lr must be a finite number of at least 0, got 'x'"),
    ({"grid": 'optimizer = "AdamW"\nlr = nan'}, "grid[0].lr must be a finite number of at least 0, got nan"),
    ({"grid": 'optimizer = "AdamW"\nlr = {}'}, "grid[0].lr.low must be a finite number above 0, got None"),
    ({"grid": 'optimizer = "SGD"\nlr = { low = 1, high = 2 }'}, "grid[0].lr.number must be a whole number from 2 to"),
    ({"grid": 'optimizer = "SGD"\nlr = { low = 1, high = 1, number = 2 }'}, "grid[0].lr.high must be a finite number"),
    ({"grid": 'optimizer = "SGD"\nlr = { lo = 1 }'}, "grid[0].lr.lo is not known (did you mean low?); allowed: low, "),
    (
        {
            "grid": 'optimizer = "SGD"\nmomentum = { low = 0.1, high = 0.9, number = 2_000 }\n'
            "lr = { low = 1, high = 2, number = 1_000 }"
        },
        "grid[0] must have at most 1,000,000 points, got 2,000,000: split",
    ),
    ({"grid": 'optimizer = "SGD"\nnumber = 3'}, "grid[0].number is not known"),
    ({"sample": 'optimizer = "SGD"\nnumber = 3\nlr = 0.1'}, "sample[0].settings must be ranges or several values"),
    ({"sample": 'optimizer = "SGD"\nlr = [0.1, 1]'}, "sample[0].number must be a whole number from 1 to 100000, got"),
    ({"sample": 'optimizer = "SGD"\nnumber = 3\nlr = { low = 1, high = 2, number = 2 }'}, "sample[0].lr.number is not"),
    ({"sample": 'optimizer = "SGD"\nnumber = 3\nseed = -1\nlr = { low = 1, high = 2 }'}, "sample[0].seed must be a"),
    ({"sample": 'optimizer = "SGD"\nnumber = 3\nmethod = "x"\nlr = { low = 1, high = 2 }'}, "sample[0].method must be"),
    ({"grid": 'optimizer = "SGD"\nnesterov = true'}, "grid[0].nesterov must be False without momentum"),
    ({"grid": 'optimizer = "AdamW"\nschedule = "cosine"'}, "grid[0].schedule must be a table, got 'cosine'"),
    ({"grid": 'optimizer = "AdamW"\nschedule = { kind = "cos" }'}, "grid[0].schedule.kind must be one of 'constant'"),
    ({"grid": 'optimizer = "AdamW"\nschedule = { warmup = 1 }'}, "grid[0].schedule.kind must be one of 'constant'"),
    ({"grid": 'optimizer = "AdamW"\nschedule = { king = "x" }'}, "grid[0].schedule.king is not known (did you mean ki"),
    (
        {"grid": 'optimizer = "Lookahead"\ninner = "SGD"\nretention = 0.5\nslow_step_size = 0.5'},
        "grid[0].slow_step_size and retention cannot both be given",
    ),
]


@pytest.mark.parametrize(("changes", "sentence"), CASES, ids=[sentence[:40] for _, sentence in CASES])
def test_what_is_wrong_is_said_in_one_sentence(tmp_path, changes, sentence):
    with pytest.raises((ValueError, OSError)) as caught:
        read(tmp_path, **changes).plan()
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 99), st.integers(2**40, 2**70), st.floats(), st.text(max_size=3)
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))


@pytest.mark.filterwarnings("ignore:configs contains")
@settings(max_examples=200, deadline=None)
@given(data=st.data(), value=values)
def test_any_value_anywhere_is_taken_or_refused_in_words(data, value):
    written = {
        "store": "kept",
        "model": {"kind": "Quadratic", "curvatures": [1.0], "noise": 0.1},
        "training": {"seeds": [1], "steps": 3, "eval_every": 2, "dtype": "float32"},
        "grid": [{"optimizer": "Lookahead", "inner": "SGD", "lr": 0.1, "schedule": {"kind": "cosine", "warmup": 1}}],
    }
    place = data.draw(st.sampled_from([written, written["model"], written["training"], written["grid"][0]]))
    place[data.draw(st.sampled_from([*place, "new"]))] = value
    refusal = ""
    try:
        configuration._understood(written, Path(), None).plan()
    except ValueError as error:
        refusal = str(error)
    assert refusal.isprintable()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.npz", b"not a zip", "is not a readable"),
        ("b.csv", b"", "is not a readable"),
        ("c.csv", b"x,y\n1,0\n", "data.file must hold a column 'kind'"),
        ("d.csv", b"x,kind\nred,0\nblue,1\n", "except the label column, got 'red' at row 0, column 'x'"),
        (
            "e.csv",
            b"x,kind\n1,red\n2,\n",
            "data.file must hold a label in every row, but row 1 (counted from 0) has none",
        ),
        (
            "f.csv",
            b"x,kind\n1,0.5\n2,1.5\n",
            "data.y must hold text, bool or whole numbers as labels, got 0.5 at row 0",
        ),
        ("g.csv", b"x;kind\n1,5;red\n", "data.file must separate columns by commas, but "),
        ("h.csv", b"x,kind\n1,red\n,blue\n3,red\n4,red\n", "got a missing value at row 1, column 'x'"),
    ],
)
def test_broken_data_of_the_user_is_named(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    label = '\nlabel = "kind"' if name.endswith("csv") else ""
    with pytest.raises(ValueError, match="data") as caught:
        read(tmp_path, data=f'file = "{name}"{label}')
    assert sentence in str(caught.value)


def test_labels_in_words_are_numbered_by_the_alphabet(tmp_path):
    kinds = ["red", "blue", "red", "amber", "blue", "red"] * 3
    rows = "".join(f"{3 * i},{2 * i},{kind}\n" for i, kind in enumerate(kinds))
    (tmp_path / "mine.csv").write_text("x,y,kind\n" + rows)
    data = read(tmp_path, data='file = "mine.csv"\nlabel = "kind"').data
    assert data.scaling.columns == ("x", "y")
    assert data.classes.tolist() == ["amber", "blue", "red"]
    assert data.y_test.tolist() == [["amber", "blue", "red"].index(kinds[row]) for row in data.rows_test]


def test_pickled_data_is_never_loaded(tmp_path):
    np.savez(tmp_path / "evil.npz", X=np.array([{}], object), y=np.array([0]))
    with pytest.raises(ValueError, match="allow_pickle"):
        read(tmp_path, data='file = "evil.npz"')


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(OSError, match=r"no\.toml cannot be read: No such file or directory"):
        configuration.read(tmp_path / "no.toml")


def test_an_estimate_counts_the_work(tmp_path):
    grids = ['optimizer = "AdamW"\nlr = [1e-3, 1e-2]', 'optimizer = "Lookahead"\ninner = "AdamW"']
    found = configuration.estimate(read(tmp_path, grid=grids).plan())
    size, rows = (5 + 1) * 4 + (4 + 1) * 3, 60
    assert (found.runs, found.rows) == (6, 2 * (1 + 1 + 2) * 3)
    assert found.operations == 6 * 6 * size * 8 * 20 + 2 * (1 + 1 + 2) * 3 * 2 * size * rows
    assert found.rate > 0
    assert found.seconds(1) == pytest.approx(found.operations / found.rate)
    assert found.seconds(8) == pytest.approx(found.seconds(1) / min(8, found.units))
