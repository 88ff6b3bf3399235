"""The declared landscapes and small networks: factors as declared, shapes with known answers, hashes."""

import math

import numpy as np
import pytest

from lookahead_nb.claims import landscape_tasks as tasks
from lookahead_nb.claims.population import Choice, Range

# Fixed from the registration of the second trial on.
KNOWN = {
    "quadratics": "5baeb198",
    "wells": "584593a3",
    "moving": "1536a51a",
    "networks": "ae9f3773",
    "games": "b0d602d6",
    "ring": "02c3d162",
}


@pytest.mark.parametrize("name", tasks.POPULATIONS)
def test_factors_stay_inside_their_ranges_and_fill_them(name):
    frame = tasks.landscape_population(name, range(60))
    assert frame["number"].tolist() == [*range(60)]
    for key, factor in tasks.POPULATIONS[name].RANGES.items():
        values = frame[key]
        if isinstance(factor, Choice):
            assert {*values} == {*factor.values}
        else:
            scale = np.log if factor.log else np.asarray
            low, high = scale([factor.low, factor.high])
            half = factor.multiple / 2
            assert values.between(factor.low - half, factor.high + half).all()
            assert abs((scale(values).mean() - low) / (high - low) - 0.5) < 5 * math.sqrt(1 / 12 / 60)


@pytest.mark.parametrize("name", tasks.POPULATIONS)
def test_the_declared_populations_are_the_registered_ones(name):
    assert tasks.landscape_sha256(name)[:8] == KNOWN[name]


def test_another_range_is_another_population(monkeypatch):
    before = tasks.landscape_sha256("wells")
    monkeypatch.setitem(tasks.Well.RANGES, "climb", Range(0.3, 3.1, log=True))
    assert tasks.landscape_sha256("wells") != before
    assert tasks.drawn("wells", 0).climb != 0


def test_populations_do_not_share_their_numbers():
    assert tasks.drawn("quadratics", 5).exponent != tasks.drawn("moving", 5).exponent


def test_a_well_has_the_climb_and_the_steepness_that_were_drawn():
    task = tasks.Well(0, asymmetry=0.3, climb=2.0, steepness=0.1, steps=100)
    well = task.model("shallow", 3)
    climb = well.heights([[well.ridge]])[0] - well.heights([[well.start[0]]])[0]
    assert climb / (task.lr / 2) == pytest.approx(2.0, rel=1e-9)
    assert 8 * well.barrier * task.lr == pytest.approx(0.1, rel=1e-9)
    assert well.heights([[well.minima[0]]])[0] < well.heights([[well.start[0]]])[0]
    assert well.tilt == pytest.approx(0.3 * 8 * well.barrier / math.sqrt(27), rel=1e-9)
    assert task.model("deep", 1).start[0] == well.minima[0]
    assert (task.model("ridge", 1).start[0], task.model("ridge", 1).spread[0]) == (well.ridge, 1.0)


def test_spectra_are_power_laws():
    task = tasks.NoisyQuadratic(0, modes=4, exponent=1.5, noise_exponent=2.0, rate=0.5)
    np.testing.assert_allclose(task.curvatures, np.arange(1, 5) ** -1.5, rtol=1e-14)
    np.testing.assert_allclose(task.noise**2, task.curvatures**2, rtol=1e-14)
    assert (task.lr, task.kind) == (pytest.approx(19.0), "high rate")
    moving = tasks.MovingQuadratic(0, modes=3, exponent=1.0, speed=0.1, noise=2.0, steps=40)
    np.testing.assert_allclose(moving.model(1).noise, 2 * np.arange(1, 4) ** -0.5, rtol=1e-14)
    assert moving.model(1).drift.tolist() == [0.1, -0.1, 0.1]
    assert not moving.model(1, moves=False).drift.size


def test_parity_rows_are_noisy_corners_with_their_parity():
    task = tasks.ParityTask(7, 3, 0, "tanh", spread=0.1, batch_size=8, lr=0.1, steps=200)
    data = task.replicate(2**40)
    assert data.X_train.shape == (tasks.PARITY_ROWS, 3)
    assert ((data.X_train < 0).sum(axis=1) % 2 == data.y_train).all()  # ten standard deviations from every corner
    assert np.std(np.abs(data.X_train)) == pytest.approx(0.1, rel=0.1)
    assert 0.4 < data.y_train.mean() < 0.6
    assert not np.array_equal(data.X_train, task.replicate(2**40 + 1).X_train)
    other = tasks.ParityTask(8, 3, 0, "tanh", spread=0.1, batch_size=8, lr=0.1, steps=200)
    assert not np.array_equal(data.X_train, other.replicate(2**40).X_train)


def test_wrong_names_numbers_and_starts_are_refused():
    with pytest.raises(ValueError, match="name must be one of"):
        tasks.drawn("hills", 0)
    with pytest.raises(ValueError, match="number"):
        tasks.drawn("wells", -1)
    with pytest.raises(ValueError, match="start"):
        tasks.drawn("wells", 0).model("left", 1)
