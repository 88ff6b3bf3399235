"""The wheel and the sdist hold what a user needs and no more, and work where only the dependencies are installed.

The wheel is installed into an environment of its own, which borrows its dependencies from this one without the network.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

import lookahead_nb

ROOT = Path(__file__).resolve().parent.parent
NAME = f"lookahead_nb-{lookahead_nb.__version__}"
FILES = {"pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"}
# What the extras of this environment bring; one with the dependencies alone has none of it.
EXTRAS = ["distributed", "jupytext", "nbclient", "nbformat", "pdoc", "pooch", "pyarrow", "rich", "sklearn", "typst"]
EXAMPLE = """
import lookahead_nb as lnb
opt = lnb.Lookahead(lnb.AdamW(0.1), sync_period=5)
run = lnb.train(lnb.landscapes.Quadratic([1.0, 0.1]), None, opt, steps=20, eval_every=20)
print(lnb.__file__, run.history["train_loss"].iloc[-1] < 0.55, len(lnb.datasets.load("checkerboard").X_train))
try:
    lnb.datasets.load("digits")
except ModuleNotFoundError as error:
    print(error)
"""
MAIN = """
import sys
from lookahead_nb.__main__ import main
for command in sys.argv[1:]:
    print(command, main(command.split()))
"""
REFUSED = {
    "claims": "lookahead-nb: data/claims is missing: run this in a checkout of the project",
    "claims C01 --fresh": "lookahead-nb: data/claims is missing: run this in a checkout of the project",
    "experiment": "lookahead-nb: data/claims/experiments is missing: run this in a checkout of the project",
    "figures": "lookahead-nb: paper/figures is missing: run this in a checkout of the project",
    "figures verdicts --where": "lookahead-nb: paper/figures is missing: run this in a checkout of the project",
    "sweep mine.toml": "lookahead-nb: mine.toml cannot be read",
    "store show mine": "lookahead-nb: the store mine cannot be opened",
}


def built(kind, tree, folder):
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(folder)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, check=True, capture_output=True, text=True)
    return folder / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The sdist of a copy of the tree, and the wheel of that sdist."""
    folder = tmp_path_factory.mktemp("package")
    for part in ("lookahead_nb", "tests"):
        shutil.copytree(ROOT / part, folder / "tree" / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder / "tree")
    sdist = built("sdist", folder / "tree", folder)
    with tarfile.open(sdist) as file:
        file.extractall(folder, filter="data")
    return sdist, built("wheel", folder / NAME, folder)


@pytest.fixture(scope="module")
def environment(package, tmp_path_factory):
    """An environment with the wheel and, borrowed from this one, what it depends on."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-compile", package[1]]
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin/python", *install]
    subprocess.run(pip, env=outside(), check=True, capture_output=True)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    (site / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({EXTRAS}))\n")
    return folder


def outside():
    """The variables of a process that knows nothing of this checkout."""
    hidden = ("PYTHONPATH", "LOOKAHEAD_NB_DATA", "LOOKAHEAD_NB_BUILD")
    return {name: value for name, value in os.environ.items() if name not in hidden}


def run(environment, folder, program, *arguments):
    """Run a program of the environment in a folder; return its status and what it said."""
    command = [environment / "bin" / program, *arguments]
    done = subprocess.run(command, cwd=folder, env=outside(), capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def sources():
    paths = (path for path in (ROOT / "lookahead_nb").rglob("*") if path.suffix == ".py" or path.name == "py.typed")
    return {path.relative_to(ROOT).as_posix() for path in paths}


def test_the_sdist_holds_the_package_and_what_builds_it(package):
    with tarfile.open(package[0]) as file:
        held = {member.name.removeprefix(f"{NAME}/") for member in file if member.isfile()}
    made = {name for name in held if name.startswith("lookahead_nb.egg-info/")} | {"PKG-INFO", "setup.cfg"}
    assert held - made == sources() | FILES


def test_the_wheel_holds_the_package_alone(package):
    with zipfile.ZipFile(package[1]) as file:
        held = {name for name in file.namelist() if not name.startswith(f"{NAME}.dist-info/")}
        about = message_from_string(file.read(f"{NAME}.dist-info/METADATA").decode())
        assert file.read(f"{NAME}.dist-info/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert held == sources()
    assert (about["Name"], about["Version"]) == ("lookahead-nb", lookahead_nb.__version__)
    assert about["License-Expression"] == "MIT"
    needs = [need for need in about.get_all("Requires-Dist") if "extra ==" not in need]
    assert {need.split(">")[0].split("<")[0] for need in needs} == {"numpy", "numba", "scipy", "seaborn"}


def test_the_library_works_with_its_dependencies_alone(environment, tmp_path):
    code, out, err = run(environment, tmp_path, "python", "-c", EXAMPLE)
    assert (code, err) == (0, "")
    (file, *told), missing = (line.split(maxsplit=2) for line in out.splitlines())
    assert Path(file).is_relative_to(environment)
    assert told == ["True", "3000"]
    assert missing == [
        "digits",
        "needs",
        'scikit-learn: install the extra reproduce, as in: pip install ".[reproduce]" in a checkout',
    ]


def test_the_command_tells_its_version(environment, tmp_path):
    told = f"lookahead-nb {lookahead_nb.__version__}\n"
    assert run(environment, tmp_path, "lookahead-nb", "--version") == (0, told, "")


def test_commands_work_or_say_in_one_line_what_is_not_there(environment, tmp_path):
    code, out, err = run(environment, tmp_path, "python", "-c", MAIN, *REFUSED, "devices")
    assert code == 0
    assert out.startswith("".join(f"{command} 2\n" for command in REFUSED) + "CPU ")
    assert out.endswith("\ndevices 0\n")
    for line, says in zip(err.splitlines(), REFUSED.values(), strict=True):
        assert line.startswith(says)
    assert list(tmp_path.iterdir()) == []
