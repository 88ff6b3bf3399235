"""Many buffers in one compiled call: the bits of each alone, one clock, and what makes a buffer leave."""

import copy

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.kernels.compiler import memory_at
from lookahead_nb.kernels.cpu import together as kernels
from lookahead_nb.kernels.cpu.step import PARALLEL_FROM
from lookahead_nb.optimizers.base import STEPS_AHEAD
from lookahead_nb.optimizers.together import Together, check_gradients, kind_of, written_memory
from tests.support.cases import INNER, INNER_STATES, WRAPPED, picture, problem, run

SIZES = (0, 1, 5, 33)
OPTS = [
    *INNER.values(),
    *(lnb.Lookahead(INNER[rule], sync_period=3, retention=0.7) for rule in WRAPPED),
    *(lnb.Lookahead(INNER["adamw"], sync_period=3, inner_state=mode) for mode in INNER_STATES),
    lnb.Lookahead(INNER["adamw"], sync_period=2, pull_back=False),
    lnb.Lookahead(INNER["adamw"], sync_period=2, outer_momentum=0.9),
    lnb.Lookahead(INNER["adamw"], sync_period=2, outer_momentum=0.9, outer_nesterov=True),
    lnb.Lookahead(INNER["adamw"], sync_period=3, slow_step_size=(0.3, 0.9)),
    lnb.EMA(INNER["adamw"], window=5),
]
LOOKAHEAD = lnb.Lookahead(lnb.AdamW(0.05, weight_decay=0.1), sync_period=3, slow_step_size=0.5)
GUARD = 7.0


class Buffers:
    """Some buffers, cut out of longer arrays, with a state each; `together` steps all of them."""

    def __init__(self, opt, rng, width=np.float64, sizes=SIZES, steps=7):
        self.opt, self.width = opt, width
        self.starts, self.gradients = zip(*(problem(rng, steps, n, width) for n in sizes), strict=True)
        self.around = [np.concatenate([[GUARD], start, [GUARD]]).astype(width) for start in self.starts]
        self.params = [array[1:-1] for array in self.around]
        self.states = [opt.init(p) for p in self.params]
        self.together = Together(self.states)

    def step(self, t, threads=2):
        grads = [rows[t] for rows in self.gradients]
        self.together.place(addresses(self.params), addresses(grads))
        self.together.step(threads)

    def picture(self):
        return [picture(p, s) for p, s in zip(self.params, self.states, strict=True)]

    def alone(self, steps, opt=None):
        """The same steps, each buffer by itself."""
        ends = (run(opt or self.opt, p, g[:steps]) for p, g in zip(self.starts, self.gradients, strict=True))
        return [picture(*end) for end in ends]


def addresses(arrays):
    return [array.ctypes.data for array in arrays]


# ---------------------------------------------------------------------------------------------------------------- bits


@pytest.mark.parametrize("opt", OPTS, ids=str)
def test_each_buffer_has_the_bits_it_has_alone(opt, rng, width):
    b = Buffers(opt, rng, width)
    for t in range(7):
        b.step(t)
        assert b.picture() == b.alone(t + 1)
    assert all(array[0] == array[-1] == GUARD for array in b.around)


def test_a_buffer_of_several_pieces_has_the_bits_it_has_alone(rng):
    b = Buffers(LOOKAHEAD, rng, sizes=(5, kernels.CHUNK + 3), steps=3)
    for t in range(3):
        b.step(t)
    assert b.picture() == b.alone(3)
    grad = b.gradients[1][0].copy()
    grad[-1] = np.nan
    b.together.place(addresses(b.params), addresses([b.gradients[0][0], grad]))
    assert b.together.are_beyond(1)


@pytest.mark.jit
@pytest.mark.parametrize("threads", [1, 2])
def test_pieces_and_threads_change_no_bit(threads, rng, width):
    sizes = (kernels.CHUNK - 1, 3 * kernels.CHUNK + 1, PARALLEL_FROM, kernels.CHUNK)
    b = Buffers(LOOKAHEAD, rng, width, sizes, steps=3)
    for t in range(3):
        b.step(t, threads)
    assert b.picture() == b.alone(3)
    assert all(array[0] == array[-1] == GUARD for array in b.around)


def test_pieces_cover_every_element_once():
    chunk = kernels.CHUNK
    table = kernels.table_of([0, 1, chunk, 2 * chunk + 3])
    expected = [(1, 0), (2, 0), (3, 0), (3, chunk), (3, 2 * chunk)]
    assert [tuple(piece) for piece in table.pieces.tolist()] == expected
    assert table.elements == 3 * chunk + 4


@pytest.mark.parametrize("bad", [np.nan, -np.inf, 1e200])
def test_an_element_beyond_the_limit_is_found_wherever_it_is(bad, rng):
    b = Buffers(LOOKAHEAD, rng)
    for buffer, size in enumerate(SIZES):
        for at in {0, size - 1} if size else set():
            grads = [rows[0].copy() for rows in b.gradients]
            b.together.place(addresses(b.params), addresses(grads))
            assert not b.together.are_beyond(2)
            grads[buffer][at] = bad
            assert b.together.are_beyond(2)
            assert b.states[buffer].first_refused(grads[buffer]) == at


def test_memory_is_read_and_written_where_it_lies(width):
    array = np.arange(5).astype(width)
    there = memory_at(array[1:].ctypes.data, 3, array)
    assert there.dtype == array.dtype
    assert there.tolist() == [1, 2, 3]
    there *= 2
    assert array.tolist() == [0, 2, 4, 6, 4]
    assert memory_at(0, 0, array).size == 0


# --------------------------------------------------------------------------------------------------------- one clock


def test_the_clock_and_the_syncs_of_all_move_on_over_the_ends_of_stretches(rng):
    steps = STEPS_AHEAD + 7
    opt = lnb.Lookahead(lnb.SGD(0.1), sync_period=3, slow_step_size=(0.3, 0.9))
    b = Buffers(opt, rng, sizes=(1, 2), steps=steps)
    for t in range(steps):
        b.step(t)
    assert b.picture() == b.alone(steps)
    assert [state.t for state in b.states] == [steps] * 2
    _, alone = run(opt, b.starts[1], b.gradients[1])
    assert b.states[0].slow_steps == b.states[1].slow_steps == alone.slow_steps


def test_other_numbers_are_followed_by_all(rng):
    b, slower = Buffers(LOOKAHEAD, rng), lnb.Lookahead(lnb.AdamW(0.01), sync_period=3, slow_step_size=0.5)
    expected = []
    for start, rows in zip(b.starts, b.gradients, strict=True):
        p, state = run(LOOKAHEAD, start, rows[:4])
        state.follow(slower)
        for g in rows[4:]:
            slower.step(p, g, state)
        expected.append(picture(p, state))
    for t in range(4):
        b.step(t)
    b.together.follow(slower)
    assert b.together.holds
    assert b.together.optimizer == slower
    assert [state.slow_steps for state in b.states] == [[0.5]] * len(SIZES)
    for t in range(4, 7):
        b.step(t)
    assert b.picture() == expected


def test_a_step_under_way_refuses_another_one(rng):
    b = Buffers(LOOKAHEAD, rng)
    b.step(0)
    before = b.picture()
    clock = b.states[0]._stretch.clock
    clock[0] = -2
    with pytest.raises(RuntimeError, match="two threads use one state at the same time"):
        b.step(1)
    with pytest.raises(RuntimeError, match="two threads use one state at the same time"):
        b.opt.step(b.params[1], b.gradients[1][1], b.states[1])
    clock[0] = 1
    assert b.picture() == before


def test_a_kernel_takes_a_step_only_once():
    p, g, clock = np.ones(3), np.ones(3), np.array([4])
    table, row = kernels.table_of([3]), np.array([0.5] + [0.0] * 7)
    table.rows[0, [kernels.P, kernels.G]] = p.ctypes.data, g.ctypes.data
    for t in (4, 6):
        with pytest.raises(RuntimeError, match="two threads use one state at the same time"):
            kernels.step_together("sgd", table, row, None, clock, t, 1)
        assert p.tolist() == [1.0] * 3
    kernels.step_together("sgd", table, row, None, clock, 5, 1)
    assert (p.tolist(), clock.tolist()) == ([0.5] * 3, [5])


def test_states_that_stand_elsewhere_are_of_another_kind(rng):
    b = Buffers(LOOKAHEAD, rng)
    assert kind_of(b.states[1]) == kind_of(b.states[2])
    b.opt.step(b.params[1], b.gradients[1][0], b.states[1])
    assert kind_of(b.states[1]) != kind_of(b.states[2])
    resumed = b.opt.restore(b.states[1].to_arrays())
    assert kind_of(resumed) == kind_of(b.states[1])
    for t in range(1, 4):
        b.opt.step(b.params[1], b.gradients[1][t], b.states[1])
    assert kind_of(b.opt.restore(b.states[1].to_arrays())) != kind_of(b.states[1])  # its syncs are counted anew


# ------------------------------------------------------------------------------------------------------------- leaving


def test_a_state_that_is_stepped_alone_leaves_the_others_where_they_are(rng):
    b = Buffers(LOOKAHEAD, rng)
    b.step(0)
    b.step(1)
    b.opt.step(b.params[1], b.gradients[1][2], b.states[1])
    assert not b.together.holds
    assert [state.t for state in b.states] == [2, 3, 2, 2]
    two, three = b.alone(2), b.alone(3)
    assert b.picture() == [two[0], three[1], two[2], two[3]]
    assert b.states[1].slow_steps == [0.5]


def test_a_state_that_shows_its_slow_weights_leaves(rng):
    b = Buffers(LOOKAHEAD, rng)
    b.step(0)
    with b.opt.slow_weights(b.params[1], b.states[1]):
        assert not b.together.holds
        with pytest.raises(RuntimeError, match="leave the block"):
            b.states[1].check_outside(b.params[1])
    assert b.picture() == b.alone(1)


def test_a_copied_state_has_its_own_clock(rng):
    b = Buffers(LOOKAHEAD, rng)
    b.step(0)
    copied = copy.deepcopy(b.states[1])
    b.step(1)
    assert copied.t == 1
    assert b.states[1].t == 2


# -------------------------------------------------------------------------------------------------------------- memory


def check_apart(parts):
    check_gradients(parts, written_memory(parts))


def placed(params, grads, opt=LOOKAHEAD):
    together = Together([opt.init(p) for p in params])
    together.place(addresses(params), addresses(grads))
    return together


def test_neighbours_do_not_overlap():
    whole, grads = np.zeros(8), np.zeros(8)
    check_apart([placed([whole[:3], whole[3:3], whole[3:]], [grads[:3], grads[3:3], grads[3:]])])
    check_apart([placed([whole[4:]], [whole[:4]]), placed([grads[:4]], [grads[4:]])])
    check_apart([placed([grads[:4], whole[4:]], [whole[:4], whole[:4]])])  # only read


@pytest.mark.parametrize("parts", [1, 2])
def test_memory_that_is_written_twice_is_refused(parts):
    whole, grad = np.zeros(8), np.zeros(8)
    views = [whole[:5], whole[4:]]
    if parts == 1:
        those = [placed(views, [grad[:5], grad[4:]])]
    else:
        those = [placed([view], [grad[: view.size]]) for view in views]
    with pytest.raises(ValueError, match="params must not share memory: pass tied tensors once"):
        check_apart(those)


@pytest.mark.parametrize("first", [0, 1, 4])
def test_a_gradient_in_the_memory_of_weights_or_a_state_is_refused(first):
    whole = np.zeros(8)
    with pytest.raises(ValueError, match="params and grad overlap in memory; pass separate arrays"):
        check_apart([placed([whole[1:5]], [whole[first : first + 4]])])
    params = np.zeros(4)
    together = placed([params], [params])
    together.place(addresses([params]), addresses([together.states[0].slots["m"]]))
    with pytest.raises(ValueError, match="params and grad overlap in memory"):
        check_apart([together])
