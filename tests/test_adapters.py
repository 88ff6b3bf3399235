"""Adapters are imported when they are used, and say in one sentence which library is missing."""

import subprocess
import sys

import pytest

import lookahead_nb as lnb

pytestmark = pytest.mark.no_kernel


def last_line(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return (done.stderr or done.stdout).splitlines()[-1]


def test_no_library_is_imported_ahead_of_its_adapter():
    used = "['sklearn', 'torch', 'lookahead_nb.adapters.scipy']"
    assert (
        last_line(f"import sys, lookahead_nb as lnb; lnb.adapters; print([n for n in {used} if n in sys.modules])")
        == "[]"
    )


@pytest.mark.parametrize(
    ("module", "use", "sentence"),
    [
        (
            "sklearn",
            "lnb.adapters.sklearn",
            "lookahead_nb.adapters.sklearn needs scikit-learn: install the extra sklearn",
        ),
        (
            "torch",
            "lnb.adapters.torch.TorchOptimizer([], lnb.SGD())",
            "TorchOptimizer needs PyTorch: install the extra torch",
        ),
    ],
)
def test_one_sentence_names_the_extra_of_a_missing_library(module, use, sentence):
    told = last_line(f"import sys; sys.modules[{module!r}] = None\nimport lookahead_nb as lnb\n{use}")
    assert told == f'ModuleNotFoundError: {sentence}, as in: pip install ".[{module}]" in a checkout'


def test_an_adapter_that_does_not_exist_is_refused():
    with pytest.raises(AttributeError, match="adapters has no adapter keras: there are scipy, sklearn, torch"):
        lnb.adapters.keras  # noqa: B018
    assert {"scipy", "sklearn", "torch"} <= {*dir(lnb.adapters)}
