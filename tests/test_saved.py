"""A run in a file: everything comes back in every bit, whoever reads it, and whatever else is refused."""

import json
import pickle
import subprocess
import sys
import zipfile
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb.training import saved
from lookahead_nb.training.setup import LANDSCAPES
from tests.support.cases import INNER

RNG = np.random.default_rng(5)
X = RNG.normal(3, 2, (60, 4))
LABELS = {
    "text": np.array(["no", "yes, <b>", "ß"])[np.arange(60) % 3],
    "numbers": np.array([7, -2])[np.arange(60) % 2],
    "truth": np.arange(60) % 2 == 0,
}
OPTIMIZERS = {
    **INNER,
    "schedule": lnb.AdamW(lnb.schedules.cosine(0.02, 30, warmup=3, decay_steps=10)),
    "restarts": lnb.AdamW(lnb.schedules.cosine_restarts(0.02, 5, factor=2)),
    "table": lnb.AdamW(lnb.schedules.from_function(lambda t: 0.05 / t, 30)),
    "lookahead": lnb.Lookahead(lnb.AdamW(0.02), sync_period=3, retention=0.7, inner_state="interpolate"),
    "in turn": lnb.Lookahead(lnb.SGD(0.1), sync_period=2, slow_step_size=(0.3, 0.9)),
    "adaptive": lnb.Lookahead(lnb.AdamW(0.05), sync_period=3, slow_step_size=lnb.Adaptive(lowest=0.25)),
    "momentum": lnb.Lookahead(lnb.AdamW(0.02), sync_period=3, outer_momentum=0.7, outer_nesterov=True),
    "average": lnb.EMA(lnb.AdamW(0.02), window=5),
    "falling decay": lnb.AdamW(0.02, weight_decay=lnb.schedules.from_function(lambda t: 0.1 / t, 30)),
    "pending decay": lnb.AdamW(0.02, weight_decay=1.1e-4),
}
HOW: dict = {"batch_size": 8, "eval_every": 3}


@cache
def data_of(labels="text", names=None):
    table = X if names is None else pd.DataFrame(X, columns=[*names])
    return lnb.datasets.from_arrays(table, LABELS[labels])


def trained(opt=OPTIMIZERS["lookahead"], labels="text", names=None, steps=7, model=None, **options):
    data = data_of(labels, names)
    with np.errstate(over="ignore", invalid="ignore"):  # of a run that diverges, in plain Python
        return lnb.train(model or lnb.MLP((4, 3, data.n_classes)), data, opt, steps=steps, **HOW | options)


def again(run, folder):
    run.save(folder / "run.npz")
    return lnb.load(folder / "run.npz")


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def same_bits(one, other):
    one, other = np.asarray(one), np.asarray(other)
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


# ----------------------------------------------------------------------------------------------------- what comes back


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_state_and_history_come_back_in_every_bit(name, dtype, tmp_path):
    run = trained(OPTIMIZERS[name], dtype=dtype)
    loaded = again(run, tmp_path)
    assert same_bits(loaded.params, run.params)
    assert (loaded.slow is None) == (run.slow is None)
    assert run.slow is None or same_bits(loaded.slow, run.slow)
    one, other = (state.to_arrays() for state in (loaded.state, run.state))
    assert one.keys() == other.keys()
    assert all(same_bits(one[key], other[key]) for key in one)
    assert loaded.state.optimizer == run.state.optimizer
    pd.testing.assert_frame_equal(loaded.history, run.history, check_exact=True)
    assert repr(loaded) == repr(run)


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("weights", ["fast", "slow"])
def test_predictions_for_raw_rows_are_those_of_the_run(labels, weights, tmp_path):
    run = trained(labels=labels, names="abcd")
    loaded, rows = again(run, tmp_path), pd.DataFrame(RNG.normal(3, 2, (200, 4)), columns=[*"dcba"])
    assert same_bits(loaded.predict(rows, weights=weights), run.predict(rows, weights=weights))
    assert same_bits(loaded.predict_proba(rows, weights=weights), run.predict_proba(rows, weights=weights))
    assert len({*loaded.predict(rows)}) > 1


def test_another_process_predicts_the_same(tmp_path):
    run = trained()
    run.save(tmp_path / "run.npz")
    np.save(tmp_path / "rows.npy", X)
    script = (
        "import sys, numpy, lookahead_nb as lnb; run = lnb.load(sys.argv[1] + '/run.npz');"
        "print(run.predict_proba(numpy.load(sys.argv[1] + '/rows.npy'), weights='slow').tobytes().hex())"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == run.predict_proba(X, weights="slow").tobytes().hex()


@pytest.mark.parametrize(
    "names", [("a", "b", "c", "d"), (3, 1, 0, 7), (("a", 1), ("a", 2), ("b", ("c", 1)), ("b", 2)), np.arange(4) * 2]
)
def test_columns_are_found_by_their_names(names, tmp_path):
    names = tuple(names)
    run = trained(names=names)
    loaded = again(run, tmp_path)
    assert loaded.scaling.columns == run.scaling.columns
    rows = pd.DataFrame(X, columns=pd.Index(names, tupleize_cols=False))[list(reversed(names))]
    assert same_bits(loaded.predict_proba(rows), run.predict_proba(rows))


@pytest.mark.parametrize("weighted", [True, False])
def test_texts_are_counted_and_weighted_as_before(weighted, tmp_path):
    pytest.importorskip("sklearn")
    from lookahead_nb.datasets.features import tf_idf, token_counts
    from lookahead_nb.datasets.scaling import TextScaling

    texts = ["buy now", "see you at nine, or not", "win win win", "call me"] * 15
    counts = token_counts(texts, 16)
    weighting = tf_idf(counts) if weighted else None
    mean = np.asarray((counts if weighting is None else weighting.transform(counts)).mean(axis=0)).ravel()
    scaling = TextScaling(16, 0.0, mean, 0.5, weighting=weighting)
    inside = scaling(texts)
    assert np.isfinite(inside).all()
    data = replace(lnb.datasets.from_arrays(inside, np.arange(60) % 4), scaling=scaling)
    run = lnb.train(lnb.LogisticRegression(16, n_classes=4), data, lnb.AdamW(0.1), steps=5, **HOW)
    new = ["you win nine", "", "or now"]
    assert same_bits(again(run, tmp_path).predict_proba(new), run.predict_proba(new))


@pytest.mark.parametrize(
    "landscape",
    [
        lnb.landscapes.Quadratic([1.0, 0.1], noise=[0.5, 0.1], drift=[0.0, 0.01], replicas=3),
        lnb.landscapes.Quadratic([0.3]),
        lnb.landscapes.DoubleWell(0.1, barrier=2.0, start=-1.0),
        lnb.landscapes.Bilinear(0.7, spread=0.1),
        lnb.landscapes.Rosenbrock(50.0),
    ],
    ids=lambda landscape: type(landscape).__name__,
)
def test_a_landscape_comes_back_and_trains_on(landscape, tmp_path):
    run = lnb.train(landscape, None, lnb.Lookahead(lnb.SGD(0.01)), steps=7, eval_every=3, seed=2)
    loaded = again(run, tmp_path)
    assert loaded.model == landscape
    assert same_bits(loaded.train(6).params, run.train(6).params)
    assert type(landscape).__name__ in LANDSCAPES


@pytest.mark.parametrize("model", [lnb.MLP((4, 3), activation="tanh"), lnb.LogisticRegression(4, n_classes=3, l2=0.01)])
def test_other_models_come_back(model, tmp_path):
    run = trained(model=model)
    loaded = again(run, tmp_path)
    assert loaded.model == model
    assert same_bits(loaded.predict_proba(X), run.predict_proba(X))


def test_a_diverged_run_comes_back_and_still_refuses_to_predict(tmp_path):
    run = trained(lnb.SGD(1e30))
    loaded = again(run, tmp_path)
    assert loaded.diverged_at == run.diverged_at is not None
    with pytest.raises(ValueError, match="diverged at step"):
        loaded.predict(X)


def test_a_loaded_run_continues_with_its_data(tmp_path):
    run, data = trained(), data_of()
    loaded = again(run, tmp_path)
    longer, expected = loaded.train(6, data=data), run.train(6)
    assert same_bits(longer.params, expected.params)
    pd.testing.assert_frame_equal(longer.history, expected.history, check_exact=True)
    assert same_bits(again(longer, tmp_path).params, expected.params)
    assert same_bits(loaded.train(6, data=lambda seed: data).params, expected.params)
    with pytest.raises(ValueError, match="data must be that of the run to continue one from a file"):
        loaded.train(6)
    with pytest.raises(ValueError, match="data must give the run its id"):
        loaded.train(6, data=lnb.datasets.from_arrays(X, LABELS["text"], split_seed=1))


def test_a_run_of_a_gpu_predicts_where_there_is_none(tmp_path):
    run = trained()
    object.__setattr__(run.setup.training, "backend", "cuda")
    loaded = again(run, tmp_path)
    assert loaded.setup.training.backend == "cuda"
    assert same_bits(loaded.predict(X), run.predict(X))


# ------------------------------------------------------------------------------------------------------------ the file


def test_equal_runs_give_equal_bytes_and_the_file_is_small(tmp_path):
    trained().save(tmp_path / "one.npz")
    trained().save(tmp_path / "two.npz")
    one = (tmp_path / "one.npz").read_bytes()
    assert one == (tmp_path / "two.npz").read_bytes()
    assert len(one) < 30_000


def test_an_existing_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "run.npz"
    path.write_bytes(b"x" * 10**6)
    trained().save(path)
    assert lnb.load(path).state.t == 7
    assert names_in(tmp_path) == ["run.npz"]


def test_a_failure_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    trained().save(path)
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match=r"run\.npz cannot be written \(No space left on device\)"):
        trained(steps=8).save(path)
    assert (path.read_bytes(), names_in(tmp_path)) == (before, ["run.npz"])


def test_nothing_in_the_file_is_a_pickle_or_a_path(tmp_path):
    trained().save(tmp_path / "run.npz")
    with np.load(tmp_path / "run.npz", allow_pickle=False) as entries:
        arrays = {name: entries[name] for name in entries.files}
    assert all(array.dtype.kind != "O" for array in arrays.values())
    assert str(tmp_path) not in str(arrays["about"])
    assert json.loads(str(arrays["about"]))["version"] == saved.VERSION


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "run.npz"
    trained(steps=2, eval_every=2).save(path)
    return path.read_bytes()


def test_a_changed_byte_is_found_wherever_it_changes_something(written, tmp_path):
    """A byte of padding, of a time or of an attribute in the zip may change nothing that is read."""
    path, unnoticed = tmp_path / "run.npz", 0
    contents = saved._sha256(saved.contents(trained(steps=2, eval_every=2)))
    places = [*range(0, len(written), 37)]
    for place in places:
        changed = bytearray(written)
        changed[place] ^= 0x10
        path.write_bytes(changed)
        try:
            loaded = lnb.load(path)
        except ValueError as error:
            assert str(error).startswith(str(path))  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
            continue
        unnoticed += 1
        assert saved._sha256(saved.contents(loaded)) == contents
    assert unnoticed < len(places) / 5


@pytest.mark.parametrize("size", [0, 3, 100, -1, -30, -2000])
def test_a_file_that_is_cut_is_refused(size, written, tmp_path):
    path = tmp_path / "run.npz"
    path.write_bytes(written[:size])
    with pytest.raises(ValueError, match=r"run\.npz (is damaged|must be a file that run\.save wrote)"):
        lnb.load(path)


def rewritten(written, path, **changes):
    """Write a file with changed entries and a hash that fits them."""
    (path.parent / "source.npz").write_bytes(written)
    with np.load(path.parent / "source.npz") as entries:
        arrays = {name: entries[name] for name in entries.files if name != "sha256"} | changes
    arrays = {name: array for name, array in arrays.items() if array is not None}
    np.savez(path, **arrays, sha256=np.array(saved._sha256(arrays)))
    return path


def about(written, path, **changes):
    (path.parent / "source.npz").write_bytes(written)
    with np.load(path.parent / "source.npz") as entries:
        return np.array(json.dumps(json.loads(str(entries["about"])) | changes))


def test_what_is_no_run_is_refused_in_a_sentence(written, tmp_path):
    path, other = tmp_path / "run.npz", "must be a file that run.save wrote, got a file of another kind"

    def refused(sentence):
        with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
            lnb.load(path)
        assert str(caught.value).startswith(f"{path} {sentence}")

    path.write_bytes(pickle.dumps({"params": [1]}))
    refused(other)
    np.savez(path, X=X, y=LABELS["text"])
    refused(other)
    np.savez(path, about=np.array([{}], object), allow_pickle=True)
    refused("is damaged")  # and nothing in it was executed
    with zipfile.ZipFile(path, "w") as members:
        members.writestr("readme.txt", "hello")
    refused(other)
    rewritten(written, path, about=about(written, path, version=2))
    refused("has version 2 of its format, and this version of lookahead_nb reads 1: update lookahead_nb")
    rewritten(written, path, params=None)
    refused("must hold a run of this version's models and optimizers, but 'params'")
    rewritten(written, path, params=np.zeros(3, np.float32))
    refused("must hold a run of this version's models and optimizers, but params must be (27,) for MLP(")
    rewritten(written, path, about=about(written, path, model={"class": "Transformer"}))
    refused("must hold a run of this version's models and optimizers, but Transformer is not among MLP, Log")
    arrays = {"about": about(written, path), "sha256": np.array("0" * 64)}
    np.savez(path, **arrays)
    refused("is damaged")


def test_a_missing_file_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.npz cannot be read \(No such file or directory\)"):
        lnb.load(tmp_path / "no.npz")
    with pytest.raises(OSError, match=r"cannot be written \(No such file or directory\)"):
        trained().save(tmp_path / "no" / "run.npz")
    with pytest.raises(TypeError, match="path must be a path, got 3"):
        lnb.load(3)


def test_what_a_file_cannot_describe_is_refused_ahead_of_writing(tmp_path):
    run = trained()
    with pytest.raises(ValueError, match=r"path must end in \.npz, got 'run\.pkl'"):
        run.save(tmp_path / "run.pkl")

    class Mine(lnb.MLP):
        pass

    with pytest.raises(TypeError, match="model must be one of MLP, LogisticRegression, Quadratic"):
        trained(model=Mine((4, 3, 3))).save(tmp_path / "run.npz")
    dated = trained(names=tuple(pd.date_range("2020-01-01", periods=4)))
    with pytest.raises(
        TypeError, match="columns must be named by text or whole numbers for a run to be saved, got Time"
    ):
        dated.save(tmp_path / "run.npz")
    assert names_in(tmp_path) == []
