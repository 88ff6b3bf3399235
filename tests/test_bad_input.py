"""The door: every bad argument is refused in one sentence that names it and its value, and nothing has moved."""

import dataclasses
import itertools
from fractions import Fraction

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.checks import NoDeviceError
from lookahead_nb.kernels import gpu
from lookahead_nb.kernels.cpu.step import CHUNK
from tests.support.cases import INNER, RULES, WRAPPED, picture

SIZE = 6
NAN, INF = float("nan"), float("inf")


def refused(error, words, call, *arguments, **options):
    """Assert that the call is refused with one sentence that holds all these words."""
    with pytest.raises(error) as caught:
        call(*arguments, **options)
    message = str(caught.value)
    assert type(caught.value) is error
    assert all(str(word) in message for word in words), message
    assert "\n" not in message


# ------------------------------------------------------------------------------------------------------ settings

NO_NUMBER = [None, "0.1", 1j, True, np.True_, [0.1], np.array([0.1])]
BAD_NUMBERS = {
    "lr": [NAN, -1.0, INF, -INF, -1e-300],
    "weight_decay": [NAN, -1.0, INF],
    "momentum": [NAN, -0.1, 1.0, INF],
    "rho": [NAN, -0.1, 1.0, 1.5],
    "beta1": [NAN, -0.1, 1.0, INF],
    "beta2": [NAN, -0.1, 1.0, 2],
    "eps": [NAN, 0.0, -1e-8, INF, Fraction(-1, 3)],
}
HAS = {
    rule: [f.name for f in dataclasses.fields(rule) if f.name in BAD_NUMBERS]
    for rule in (lnb.SGD, lnb.Adagrad, lnb.RMSprop, lnb.Adam, lnb.AdamW, lnb.ScheduleFreeAdamW)
}


@pytest.mark.parametrize(("rule", "name"), [(rule, name) for rule, names in HAS.items() for name in names])
def test_numbers_out_of_range_and_what_is_no_number(rule, name):
    for value in BAD_NUMBERS[name]:
        refused(ValueError, [name, repr(value)], rule, **{name: value})
    for value in NO_NUMBER:
        refused(TypeError, [name, repr(value)], rule, **{name: value})


def test_whole_number_beyond_every_float_is_refused():
    refused(ValueError, ["lr"], lnb.SGD, lr=10**400)
    refused(ValueError, ["weight_decay"], lnb.SGD, weight_decay=10**400)


def test_every_number_at_the_edge_of_its_range_is_taken():
    almost_one = np.nextafter(1, 0)
    lnb.AdamW(lr=0, beta1=0, beta2=almost_one, eps=5e-324, weight_decay=0)
    lnb.SGD(lr=np.float32(0.1), momentum=almost_one, nesterov=np.True_)
    lnb.RMSprop(lr=Fraction(1, 3), rho=0, momentum=0)


def test_nesterov():
    refused(TypeError, ["nesterov", "1"], lnb.SGD, momentum=0.9, nesterov=1)
    refused(ValueError, ["nesterov", "momentum 0.0"], lnb.SGD, nesterov=True)


def test_schedule_free_needs_an_average_and_no_fall():
    refused(ValueError, ["beta1", "(0, 1)", "0"], lnb.ScheduleFreeAdamW, beta1=0)
    falling = lnb.schedules.cosine(0.1, 20)
    refused(ValueError, ["lr must be a number or a constant schedule", "cosine"], lnb.ScheduleFreeAdamW, falling)


def test_a_function_is_no_weight_decay():
    advice = "pass weight_decay=schedules.from_function(f, steps)"
    refused(TypeError, ["weight_decay must be a number or a schedule", advice], lnb.SGD, weight_decay=lambda t: 0.1)


def test_unknown_setting_is_refused():
    refused(TypeError, ["amsgrad"], lnb.AdamW, amsgrad=True)
    refused(TypeError, ["alpha"], lnb.Lookahead, lnb.AdamW(), alpha=0.5)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        *(({"sync_period": value}, ValueError) for value in (0, -1)),
        *(({"sync_period": value}, TypeError) for value in (2.5, 5.0, True, NAN, INF, "5", None, np.True_)),
        *(({"slow_step_size": value}, ValueError) for value in (-0.1, 2.1, NAN, INF, -INF)),
        *(({"slow_step_size": value}, TypeError) for value in (True, "0.5", 1j, {0.5, 0.1})),
        *(({"retention": value}, ValueError) for value in (-1.1, 1.5, NAN, INF)),
        *(({"retention": value}, TypeError) for value in (True, "0.5")),
        *(({"inner_state": value}, ValueError) for value in ("pullback", "", None, True, 0, np.array(["keep"]))),
        *(({"pull_back": value}, TypeError) for value in (None, 1, "yes")),
        *(({"outer_momentum": value}, ValueError) for value in (-0.1, 1.0, NAN, INF)),
        *(({"outer_momentum": value}, TypeError) for value in (True, "0.5", [0.5])),
        *(({"outer_nesterov": value}, TypeError) for value in (None, 1, "yes")),
    ],
    ids=repr,
)
def test_settings_of_lookahead(settings, error):
    ((name, value),) = settings.items()
    refused(error, [name, repr(value)], lnb.Lookahead, lnb.AdamW(), **settings)


def test_each_of_several_slow_steps_must_be_one():
    for value in (NAN, 2.1, -0.1):
        refused(ValueError, ["slow_step_size[1]", value], lnb.Lookahead, lnb.AdamW(), slow_step_size=[0.5, value])
    for value in ("adaptive", True, [0.5]):
        refused(TypeError, ["slow_step_size[1]", value], lnb.Lookahead, lnb.AdamW(), slow_step_size=[0.5, value])
    refused(ValueError, ["slow_step_size", "none"], lnb.Lookahead, lnb.AdamW(), slow_step_size=[])


@pytest.mark.parametrize("step", [1.01, 2, (0.5, 1.5)])
def test_an_interpolated_state_is_never_extrapolated(step):
    words = ["slow_step_size must be at most 1 for inner_state 'interpolate'", repr(step)]
    refused(ValueError, words, lnb.Lookahead, lnb.AdamW(), slow_step_size=step, inner_state="interpolate")


def test_adaptive_needs_adamw_its_state_and_the_pull_back():
    how = {"slow_step_size": "adaptive"}
    refused(ValueError, ["inner must be AdamW", "SGD("], lnb.Lookahead, lnb.SGD(), **how)
    refused(ValueError, ["inner_state", "'reset'"], lnb.Lookahead, lnb.AdamW(), inner_state="reset", **how)
    refused(ValueError, ["pull_back", "False"], lnb.Lookahead, lnb.AdamW(), pull_back=False, **how)
    refused(ValueError, ["retention"], lnb.Lookahead, lnb.AdamW(), retention=0.5, **how)
    for lowest in (0.0, -1.0, 1.5, NAN):
        refused(ValueError, ["lowest", repr(lowest)], lnb.Adaptive, lowest)


def test_outer_momentum_needs_given_steps_the_pull_back_and_the_kept_state():
    how = {"outer_momentum": 0.9}
    refused(
        ValueError,
        ["slow_step_size must be given", "Adaptive"],
        lnb.Lookahead,
        lnb.AdamW(),
        slow_step_size="adaptive",
        **how,
    )
    refused(ValueError, ["pull_back must be True", "False"], lnb.Lookahead, lnb.AdamW(), pull_back=False, **how)
    for mode in ("reset", "interpolate"):
        refused(ValueError, ["inner_state must be 'keep'", mode], lnb.Lookahead, lnb.AdamW(), inner_state=mode, **how)
    refused(ValueError, ["outer_nesterov", "outer_momentum 0.0"], lnb.Lookahead, lnb.AdamW(), outer_nesterov=True)


def test_both_conventions_at_once_are_refused():
    words = ["slow_step_size", "retention", "0.1", "0.9"]
    refused(ValueError, words, lnb.Lookahead, lnb.AdamW(), slow_step_size=0.1, retention=0.9)


@pytest.mark.parametrize("inner_state", ["reset", "interpolate"])
def test_without_pull_back_only_keep(inner_state):
    refused(
        ValueError, ["inner_state", inner_state], lnb.Lookahead, lnb.AdamW(), pull_back=False, inner_state=inner_state
    )


@pytest.mark.parametrize("inner", [None, "AdamW", lnb.AdamW, 0.1, lnb.Lookahead(lnb.AdamW()), lnb.ScheduleFreeAdamW()])
def test_inner_must_be_a_rule(inner):
    refused(TypeError, ["inner", repr(inner)], lnb.Lookahead, inner)


def test_equal_settings_have_one_stored_form():
    plus, minus = lnb.AdamW(lr=0.0, weight_decay=0.0), lnb.AdamW(lr=-0.0, weight_decay=-0.0)
    assert plus == minus
    minus.restore(plus.init(np.ones(1)).to_arrays())


# -------------------------------------------------------------------------------------------------------- arrays


def odd_arrays():
    """Name -> (array no kernel takes, error, words of the message); all of length SIZE where they have one."""
    good = np.ones(2 * SIZE + 1, np.float32)
    bytes_ = bytearray(4 * SIZE + 1)
    typed = {
        dtype: np.ones(SIZE, dtype) for dtype in ("f2", "g", "i4", "u8", "?", "c8", "c16", "O", "S4", ">f4", ">f8")
    }
    shaped = {"0-d": np.array(1, np.float32), "2-D": np.ones((SIZE, 1)), "F": np.ones((2, 3), order="F")}
    strided = {
        "strided": good[: 2 * SIZE : 2],
        "reversed": good[:SIZE][::-1],
        "broadcast": np.broadcast_to(good[:1], SIZE),
    }
    strided["misaligned"] = np.frombuffer(bytes_, np.float32, offset=1)
    other = {"list": [1.0] * SIZE, "None": None, "float": 1.0, "scalar": np.float32(1), "memoryview": memoryview(good)}
    cases = {name: (array, TypeError, [str(array.dtype)]) for name, array in typed.items()}
    cases |= {name: (array, ValueError, [str(array.shape)]) for name, array in (shaped | strided).items()}
    return cases | {name: (array, TypeError, [type(array).__name__]) for name, array in other.items()}


ODD = odd_arrays()
OPTIMIZERS = [lnb.AdamW(), lnb.Lookahead(lnb.AdamW(), inner_state="interpolate")]


@pytest.mark.parametrize("opt", OPTIMIZERS, ids=["adamw", "lookahead"])
@pytest.mark.parametrize("odd", ODD)
def test_odd_arrays_are_refused(odd, opt):
    array, error, words = ODD[odd]
    params, grad = np.ones(SIZE, np.float32), np.ones(SIZE, np.float32)
    state = opt.init(params)
    opt.step(params, grad, state)
    before = picture(params, grad, state)
    refused(error, ["params", *words], opt.init, array)
    refused(error, ["params", *words], opt.step, array, grad, state)
    refused(error, ["grad", *words], opt.step, params, array, state)
    if array is not None:
        refused(error, ["like", *words], opt.restore, state.to_arrays(), like=array)
    assert picture(params, grad, state) == before


@pytest.mark.parametrize("opt", OPTIMIZERS, ids=["adamw", "lookahead"])
def test_readonly_weights_are_refused_and_readonly_gradients_taken(opt, width):
    params, grad = np.ones(SIZE, width), np.ones(SIZE, width)
    state = opt.init(params)
    params.flags.writeable = grad.flags.writeable = False
    refused(ValueError, ["params", "read-only"], opt.init, params)
    refused(ValueError, ["params", "read-only"], opt.step, params, grad, state)
    assert state.t == 0
    opt.step(np.ones(SIZE, width), grad, state)
    assert state.t == 1


def test_masked_array_is_refused():
    masked = np.ma.masked_array(np.ones(SIZE), mask=[True] + [False] * (SIZE - 1))
    refused(TypeError, ["params", "MaskedArray"], lnb.AdamW().init, masked)


def test_memory_map_is_taken(tmp_path):
    on_disk = np.lib.format.open_memmap(tmp_path / "params.npy", "w+", np.float64, (SIZE,))
    state = lnb.SGD(lr=1.0).init(on_disk)
    lnb.SGD(lr=1.0).step(on_disk, np.ones(SIZE), state)
    assert np.load(tmp_path / "params.npy", mmap_mode="r").tolist() == [-1] * SIZE


@pytest.mark.parametrize("opt", OPTIMIZERS, ids=["adamw", "lookahead"])
def test_other_length_or_dtype_than_the_state(opt):
    params, grad = np.ones(SIZE, np.float32), np.ones(SIZE, np.float32)
    state = opt.init(params)
    before = picture(params, grad, state)
    for other in (np.ones(SIZE + 1, np.float32), np.ones(SIZE - 1, np.float32), np.ones(SIZE)):
        described = f"({other.size},) {other.dtype}"
        refused(ValueError, ["params", described], opt.step, other, other.copy(), state)
        refused(ValueError, ["grad", described], opt.step, params, other, state)
    assert picture(params, grad, state) == before


def test_one_weight_more_or_less_is_no_broadcast():
    params = np.ones(1)
    state = lnb.SGD().init(params)
    refused(ValueError, ["grad", "(2,)"], lnb.SGD().step, params, np.ones(2), state)
    refused(ValueError, ["grad", "(0,)"], lnb.SGD().step, params, np.ones(0), state)


@pytest.mark.parametrize("overlap", [SIZE, 1])
def test_shared_memory_is_refused(overlap):
    opt = lnb.Lookahead(lnb.AdamW(), inner_state="interpolate")
    for name in ("grad", "m", "v", "slow", "_a1", "_a2"):
        memory = np.ones(2 * SIZE)
        params, shared = memory[:SIZE], memory[SIZE - overlap : 2 * SIZE - overlap]
        state = opt.init(params)
        grad = shared if name == "grad" else np.ones(SIZE)
        if name != "grad":
            setattr(state, {"m": "_s1", "v": "_s2", "slow": "_slow"}.get(name, name), shared)
        before = picture(memory, grad, state)
        named = {"_a1": "synced_m", "_a2": "synced_v"}.get(name, name)
        refused(ValueError, ["params", named], opt.step, params, grad, state)
        assert picture(memory, grad, state) == before


def test_gradient_in_the_memory_of_the_state_is_refused():
    opt = lnb.Lookahead(lnb.AdamW(), inner_state="interpolate")
    params = np.ones(SIZE)
    state = opt.init(params)
    refused(ValueError, ["grad", "state's slow"], opt.step, params, state.slow, state)
    for shared in (*state.slots.values(), state._a1, state._a2):
        refused(ValueError, ["grad", "the state's"], opt.step, params, shared, state)
    refused(ValueError, ["params", "read-only"], opt.step, state.slow, np.ones(SIZE), state)
    assert state.t == 0


def test_neighbours_in_one_block_are_no_overlap():
    memory = np.ones(2 * SIZE)
    state = lnb.SGD().init(memory[:SIZE])
    lnb.SGD().step(memory[:SIZE], memory[SIZE:], state)


@pytest.mark.parametrize("state", [None, {}, "state", 3])
def test_state_must_come_from_init(state):
    refused(TypeError, ["state", type(state).__name__], lnb.SGD().step, np.ones(1), np.ones(1), state)


def test_state_of_another_optimizer_is_refused():
    params = np.ones(SIZE)
    made = [lnb.SGD(), lnb.Adam(), lnb.AdamW(), lnb.Lookahead(lnb.AdamW()), lnb.Lookahead(lnb.AdamW(), sync_period=6)]
    for one, other in itertools.permutations(made, 2):
        state = other.init(params)
        before = picture(params, state)
        refused(ValueError, ["state", repr(one)], one.step, params, np.ones(SIZE), state)
        assert picture(params, state) == before


def test_check_finite_is_a_flag():
    params = np.ones(1)
    refused(
        TypeError, ["check_finite", "1"], lnb.SGD().step, params, params.copy(), lnb.SGD().init(params), check_finite=1
    )


# ------------------------------------------------------------------------------------------- gradients not finite


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("rule", RULES)
def test_nonfinite_gradient_is_refused_before_anything_moves(rule, value, width):
    wrapped = [lnb.Lookahead(INNER[rule], sync_period=2)] if rule in WRAPPED else []
    for opt in (INNER[rule], *wrapped):
        for at in (0, SIZE // 2, SIZE - 1):
            params, grad = np.ones(SIZE, width), np.ones(SIZE, width)
            state = opt.init(params)
            opt.step(params, grad, state)
            grad[at] = value
            before = picture(params, grad, state)
            refused(FloatingPointError, [f"grad[{at}]", repr(value), "step 2"], opt.step, params, grad, state)
            assert picture(params, grad, state) == before


@pytest.mark.jit
@pytest.mark.parametrize("at", [CHUNK - 1, CHUNK, CHUNK + 1])
def test_nonfinite_gradient_at_the_border_of_a_chunk(at, width):
    params, grad = np.ones(2 * CHUNK, width), np.ones(2 * CHUNK, width)
    state = lnb.AdamW().init(params)
    grad[at] = NAN
    refused(FloatingPointError, [f"grad[{at}]", "step 1"], lnb.AdamW().step, params, grad, state)
    assert (params == 1).all()


@pytest.mark.parametrize("rule", RULES)
def test_gradient_without_a_finite_square(rule, width):
    """Such a second moment would be inf for ever, and the weight frozen without a NaN to show it."""
    huge = {np.float32: 2e19, np.float64: 1e160}[width]
    params, grad = np.ones(SIZE, width), np.full(SIZE, -huge, width)
    state = INNER[rule].init(params)
    before = picture(params, state)
    if not INNER[rule].squares_gradient:
        INNER[rule].step(params, grad, state)
        assert all(np.isfinite(array).all() for array in (params, *state.slots.values()))
    else:
        words = ["grad[0]", "no finite square", "step 1"]
        refused(FloatingPointError, words, INNER[rule].step, params, grad, state)
        assert picture(params, state) == before


@pytest.mark.parametrize("rule", RULES)
def test_largest_gradient_taken_leaves_everything_finite(rule, width):
    largest = 0.998 * np.sqrt(np.finfo(width).max)
    params, grad = np.ones(SIZE, width), np.full(SIZE, largest, width)
    state = INNER[rule].init(params)
    INNER[rule].step(params, grad, state)
    assert np.isfinite(params).all()
    assert all(np.isfinite(slot).all() for slot in state.slots.values())


# --------------------------------------------------------------------------------------------------- slow weights


def test_step_nesting_and_checkpoint_inside_slow_weights_are_refused():
    opt = lnb.Lookahead(lnb.AdamW(), sync_period=3)
    params, grad = np.ones(SIZE), np.ones(SIZE)
    state = opt.init(params)
    opt.step(params, grad, state)
    fast, before = params.tobytes(), picture(state)
    with opt.slow_weights(params, state):
        slow = params.tobytes()
        refused(RuntimeError, ["slow"], opt.step, params, grad, state)
        refused(RuntimeError, ["params hold the slow weights"], state.to_arrays)
        with pytest.raises(RuntimeError, match="slow"), opt.slow_weights(params, state):
            pass
        assert params.tobytes() == slow
    assert (params.tobytes(), picture(state)) == (fast, before)
    opt.step(params, grad, state)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit, SystemExit])
def test_fast_weights_come_back_on_an_exception(error):
    opt = lnb.Lookahead(lnb.AdamW(), sync_period=3)
    params, grad = np.ones(SIZE), np.ones(SIZE)
    state = opt.init(params)
    opt.step(params, grad, state)
    before = picture(params, state)

    def evaluate():
        with opt.slow_weights(params, state):
            params[:] = NAN
            raise error

    with pytest.raises(error):
        evaluate()
    assert picture(params, state) == before
    opt.step(params, grad, state)


@pytest.mark.parametrize("odd", ODD)
def test_slow_weights_need_the_right_array(odd):
    array, error, words = ODD[odd]
    opt = lnb.Lookahead(lnb.AdamW())
    state = opt.init(np.ones(SIZE, np.float32))
    before = picture(state)
    refused(error, ["params", *words], opt.slow_weights(array, state).__enter__)
    assert picture(state) == before
    opt.step(np.ones(SIZE, np.float32), np.ones(SIZE, np.float32), state)


def test_slow_weights_need_the_right_state():
    opt = lnb.Lookahead(lnb.AdamW())
    params = np.ones(SIZE)
    refused(ValueError, ["state"], opt.slow_weights(params, lnb.AdamW().init(params)).__enter__)
    refused(ValueError, ["params", "(5,)"], opt.slow_weights(np.ones(5), opt.init(params)).__enter__)


# -------------------------------------------------------------------------------------------------- arrays on a GPU


class OnDevice:
    """Looks like an array on a GPU and is none: whoever follows the address crashes, whoever copies fails."""

    def __init__(self, shape=(SIZE,), typestr="<f4", strides=None, readonly=False):
        data = (0xDEAD0000, readonly)
        self.__cuda_array_interface__ = {
            "shape": shape, "typestr": typestr, "strides": strides, "data": data, "version": 3,
        }  # fmt: skip

    def __array__(self, *arguments, **options):
        raise AssertionError("copied to the host")


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(gpu.cuda, "is_available", lambda: False)


@pytest.mark.parametrize("opt", OPTIMIZERS, ids=["adamw", "lookahead"])
def test_without_a_gpu_device_arrays_are_refused_not_copied(opt, no_gpu):
    for good in (
        OnDevice(),
        OnDevice(strides=(4,)),
        OnDevice(typestr="<f8"),
        OnDevice((0,)),
        OnDevice((1,), strides=(8,)),
    ):
        refused(NoDeviceError, ["GPU", "CUDA", "NumPy"], opt.init, good)


@pytest.mark.parametrize(
    ("array", "error", "words"),
    [
        (OnDevice((2, 3)), ValueError, ["(2, 3)"]),
        (OnDevice(()), ValueError, ["()"]),
        (OnDevice(typestr="<f2"), TypeError, ["float16"]),
        (OnDevice(typestr="<i4"), TypeError, ["int32"]),
        (OnDevice(typestr=">f4"), TypeError, [">f4"]),
        (OnDevice(strides=(8,)), ValueError, ["contiguous"]),
        (OnDevice(strides=(-4,)), ValueError, ["contiguous"]),
        (OnDevice(readonly=True), ValueError, ["read-only"]),
    ],
)
def test_device_arrays_pass_the_same_door(array, error, words, no_gpu):
    for opt in OPTIMIZERS:
        refused(error, ["params", *words], opt.init, array)


def test_host_and_device_are_not_mixed(no_gpu):
    for opt in OPTIMIZERS:
        params = np.ones(SIZE, np.float32)
        state = opt.init(params)
        before = picture(params, state)
        refused(ValueError, ["grad", "device"], opt.step, params, OnDevice(), state)
        refused(ValueError, ["params", "device"], opt.step, OnDevice(), params, state)
        refused(NoDeviceError, ["GPU"], opt.restore, state.to_arrays(), like=OnDevice())
        assert picture(params, state) == before


def test_training_on_a_gpu_that_is_not_there_is_refused(no_gpu):
    model, opt = lnb.landscapes.Quadratic([1.0]), lnb.SGD(0.1)
    words = ["a GPU is asked for", "no CUDA device can be used", "backend='cpu'"]
    refused(NoDeviceError, words, lnb.train, model, None, opt, steps=2, backend="cuda")
    refused(NoDeviceError, words, lnb.sweep, model, None, [opt], seeds=1, steps=2, backend="cuda")


def test_data_on_a_gpu_are_refused_not_copied():
    y, model = np.arange(30) % 3, lnb.MLP((4, 3))
    refused(TypeError, ["X must be an array on the host", "OnDevice"], lnb.datasets.from_arrays, OnDevice((30, 4)), y)
    refused(TypeError, ["X must be an array on the host"], model.predict, model.init(), OnDevice((30, 4)))
    refused(TypeError, ["params must be a NumPy array"], model.predict, OnDevice((model.size,)), np.ones((30, 4)))


# --------------------------------------------------------------------------------------------------------- after all


def test_eps_below_float32_is_refused_or_harmless():
    for rule in (lnb.Adagrad, lnb.RMSprop, lnb.Adam, lnb.AdamW):
        params = np.ones(1, np.float32)
        opt = rule(eps=1e-60)
        try:
            state = opt.init(params)
        except ValueError:
            continue
        opt.step(params, np.zeros(1, np.float32), state)
        assert np.isfinite(params).all()


def test_a_refused_call_leaves_no_mark_on_the_next(rng):
    opt = lnb.Lookahead(INNER["adamw"], sync_period=2)
    grads = rng.standard_normal((4, SIZE))
    undisturbed, disturbed = np.ones(SIZE), np.ones(SIZE)
    a, b = opt.init(undisturbed), opt.init(disturbed)
    for g in grads:
        opt.step(undisturbed, g, a)
        for bad in (np.full(SIZE, NAN), np.ones(SIZE + 1), disturbed, None):
            with pytest.raises((FloatingPointError, ValueError, TypeError)):
                opt.step(disturbed, bad, b)
        opt.step(disturbed, g, b)
    assert undisturbed.tobytes() == disturbed.tobytes()
    assert picture(a) == picture(b)


def test_a_tensor_that_wants_a_gradient_is_refused_with_the_words_of_its_library():
    class Tensor:
        @property
        def __cuda_array_interface__(self):
            raise RuntimeError("use tensor.detach()")

    refused(TypeError, ["params", "CUDA array", "use tensor.detach()"], lnb.AdamW().init, Tensor())
