"""The optimizer for PyTorch on CUDA tensors: in the simulator on tensors that say they are, on a device on real ones.

Run with NUMBA_ENABLE_CUDASIM=1 by `make test LEVEL=peers`, and on a device by `LEVEL=gpu`.
"""

import io

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import lookahead_nb as lnb  # noqa: E402
from lookahead_nb.adapters.torch import TorchOptimizer  # noqa: E402
from lookahead_nb.checks import NoDeviceError  # noqa: E402
from lookahead_nb.kernels import gpu  # noqa: E402
from lookahead_nb.kernels.gpu import cuda  # noqa: E402
from tests.support.cases import INNER, problem, run  # noqa: E402
from tests.support.simulated import SIMULATED  # noqa: E402

SIZE, STEPS = 12, 7
OPTS = [INNER["adamw"], INNER["sgd"], lnb.Lookahead(INNER["adamw"], sync_period=3, inner_state="interpolate")]
OPTS += [lnb.ScheduleFreeAdamW(0.02, weight_decay=0.1)]
LOOKAHEAD = lnb.Lookahead(lnb.AdamW(0.05, weight_decay=0.1), sync_period=3)

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("device"), pytest.mark.filterwarnings("ignore:Grid size")]


class OnDevice(torch.Tensor):
    """A tensor on the CPU that says that it is on a CUDA device, as arrays of the simulator do."""

    is_cpu, is_cuda = False, True

    @property
    def device(self):
        return torch.device("cuda:0")

    @property
    def array(self):
        return type(cuda.device_array(1))(self.detach().as_subclass(torch.Tensor).numpy())

    @property
    def __cuda_array_interface__(self):
        return self.array.__cuda_array_interface__


@pytest.fixture(autouse=True)
def tensors_on_a_device(monkeypatch, device):
    if SIMULATED:
        stream = type("", (), {"cuda_stream": 0})
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    elif not torch.cuda.is_available():
        pytest.skip("this PyTorch cannot use CUDA")


def placed(array, shape=(-1,)):
    tensor = torch.tensor(array).reshape(shape)
    return tensor.as_subclass(OnDevice) if SIMULATED else tensor.cuda()


def shapes(start):
    """The same numbers as three tensors."""
    return [placed(start[:6], (2, 3)), placed(start[6:11]), placed(start[11:], ())]


def read(params):
    host = (p.detach().as_subclass(torch.Tensor).cpu().numpy() for p in params)
    return np.concatenate([each.ravel() for each in host])


def stepped(optimizer, gradients):
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for row in gradients:
        for p, grad in zip(params, shapes(row), strict=True):
            p.grad = grad
        optimizer.step()
    return read(params)


@pytest.mark.parametrize("opt", OPTS, ids=str)
def test_tensors_on_a_device_have_the_bits_of_the_host(opt, rng, width):
    start, gradients = problem(rng, STEPS, SIZE, width)
    params = shapes(start)
    where = [p.data_ptr() for p in params]
    expected, state = run(opt, start, gradients)
    optimizer = TorchOptimizer(params, opt)
    assert stepped(optimizer, gradients).tobytes() == expected.tobytes()
    assert [p.data_ptr() for p in params] == where
    if opt.has_slow_weights:
        with optimizer.slow_weights():
            assert read(params).tobytes() == opt.slow_from(expected, state).tobytes()
        assert read(params).tobytes() == expected.tobytes()


def test_rates_and_gradients_that_are_missing(rng):
    start, gradients = problem(rng, 6, SIZE)
    ends = []
    for make in (shapes, lambda row: [torch.tensor(row[:6]).reshape(2, 3), *torch.tensor(row[6:]).split([5, 1])]):
        params = make(start)
        optimizer = TorchOptimizer([{"params": params[:1]}, {"params": params[1:], "lr": 0.2}], LOOKAHEAD)
        for t, row in enumerate(gradients):
            for n, (p, grad) in enumerate(zip(params, make(row), strict=True)):
                p.grad = None if (t + n) % 3 == 0 else grad.reshape(p.shape)
            optimizer.param_groups[0]["lr"] = 0.05 / (t + 1)
            optimizer.step()
        ends.append(read(params).tobytes())
    assert ends[0] == ends[1]


def test_a_checkpoint_continues_on_the_device_of_the_tensors(rng):
    start, gradients = problem(rng, STEPS, SIZE)
    params = shapes(start)
    optimizer = TorchOptimizer(params, LOOKAHEAD)
    stepped(optimizer, gradients[:4])
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    stored = torch.load(file, weights_only=True)
    again = TorchOptimizer([p.detach().clone() for p in params], LOOKAHEAD)
    again.load_state_dict(stored)
    assert all(entry["state"]._on_device for entry in again.state.values())
    assert stepped(again, gradients[4:]).tobytes() == run(LOOKAHEAD, start, gradients)[0].tobytes()


def test_tensors_on_both_sides_step_each_where_they_lie(rng):
    start, gradients = problem(rng, 3, SIZE)
    here, there = torch.tensor(start), placed(start)
    optimizer = TorchOptimizer([here, there], LOOKAHEAD)
    for row in gradients:
        here.grad, there.grad = torch.tensor(row), placed(row)
        optimizer.step()
    expected = run(LOOKAHEAD, start, gradients)[0].tobytes()
    assert read([here]).tobytes() == read([there]).tobytes() == expected


def test_a_gradient_that_is_not_finite_changes_no_tensor(rng):
    start, gradients = problem(rng, 3, SIZE)
    params = shapes(start)
    optimizer = TorchOptimizer(params, LOOKAHEAD)
    before = stepped(optimizer, gradients).tobytes()
    row = gradients[0].copy()
    row[8] = np.nan
    with pytest.raises(FloatingPointError, match=r"grad of a \(5,\) tensor must be finite.*got nan at element 2"):
        stepped(optimizer, [row])
    assert read(params).tobytes() == before


def test_tensors_that_have_moved_to_a_device_are_refused(rng):
    start, gradients = problem(rng, 2, SIZE)
    params = [torch.nn.Parameter(torch.tensor(start[:7])), torch.nn.Parameter(torch.tensor(start[7:]))]
    optimizer = TorchOptimizer(params, LOOKAHEAD)
    for row in gradients:
        params[0].grad, params[1].grad = torch.tensor(row[:7]), torch.tensor(row[7:])
        optimizer.step()
    before = read(params).tobytes()
    if SIMULATED:
        params[1].__class__ = OnDevice
    else:
        params[1].data = params[1].data.cuda()
    params[1].grad = placed(gradients[0][7:])
    with pytest.raises(ValueError, match="params must stay on the device of their state, got one moved to cuda:0"):
        optimizer.step()
    assert read(params).tobytes() == before


def test_a_device_that_cannot_be_used_is_named(monkeypatch, rng):
    start, gradients = problem(rng, 1, SIZE)
    optimizer = TorchOptimizer(shapes(start), LOOKAHEAD)
    monkeypatch.setattr(gpu, "problem", lambda: "no driver")
    with pytest.raises(NoDeviceError, match="no driver"):
        stepped(optimizer, gradients)
