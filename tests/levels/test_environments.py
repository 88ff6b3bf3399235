"""The commands of the project in odd environments: each says the same, or refuses in one sentence."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 300  # seconds for all commands of one environment
NOBODY = 65534

# All in one process, since imports take longer than the commands. The codes go to a file: output may be closed.
COMMANDS = """
import json, sys
import numpy as np
import lookahead_nb as lnb
from lookahead_nb.__main__ import main

config, store, codes, *options = sys.argv[1:]
done = {}
for words in (["devices"], ["sweep", config, "--store", store, *options], ["store", "show", store],
              ["store", "verify", store], ["claims", "C05a"], ["sweep", "missing.toml"]):
    print("==", words[0], flush=True)
    done[" ".join(words[:2])] = main(words)
X, y = np.random.default_rng(0).normal(0, 1, (60, 4)), np.arange(60) % 2
run = lnb.train(lnb.MLP((4, 3, 2)), lnb.datasets.from_arrays(X, y), lnb.Lookahead(lnb.AdamW(0.1)),
                steps=20, batch_size=8)
print("== train", run.params.sum(), run.history["train_loss"].iloc[-1], flush=True)
answer = lnb.ask(X, y, hidden=(), steps=20, batch_size=8, replicates=4, progress=False)
print("== ask", answer.advice, flush=True)
with open(codes, "w", encoding="utf-8") as file:
    json.dump([*done.values()], file)
"""
CONFIG = """
[model]
kind = "MLP"
widths = [2, 3, 2]
[data]
name = "checkerboard"
[training]
seeds = 2
steps = 10
eval_every = 10
[[grid]]
optimizer = "Lookahead"
inner = "AdamW"
lr = [0.01, 0.1]
"""
ENDS = [0, 0, 0, 0, 0, 2]  # the last command names a file that is missing


class Environment:
    """A folder that everybody may use, outside of what pytest keeps private, and the cache of compiled code in it."""

    def __init__(self, folder):
        self.folder = folder
        self.cache = self.made("cache")
        self.runs = 0

    def made(self, name):
        path = self.folder / name
        path.mkdir(mode=0o777, parents=True)
        path.chmod(0o777)
        return path

    def __call__(self, *, before=(), flags=(), options=(), cwd=ROOT, name="run", shell="", **variables):
        """Run all commands; return (what was said, exit codes by command)."""
        self.runs += 1
        place = self.made(f"{name}-{self.runs}")
        config, codes = place / "config.toml", place / "codes.json"
        config.write_text(CONFIG, encoding="utf-8")
        plain = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LC_", "LANG"))}
        given = plain | {"NUMBA_CACHE_DIR": str(self.cache), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, *flags, "-c", COMMANDS, str(config), str(place / "store"), str(codes), *options]
        if shell:
            command = ["sh", "-c", f'exec "$@" {shell}', "sh", *command]
        ended = subprocess.run(
            [*before, *command], cwd=cwd, env=given | variables, timeout=PATIENCE, capture_output=True, check=False
        )
        said, complaints = (words.decode("utf-8", "backslashreplace") for words in (ended.stdout, ended.stderr))
        assert ended.returncode == 0, complaints
        assert "Traceback" not in complaints
        for path in self.cache.rglob("*"):
            path.chmod(0o777 if path.is_dir() else 0o666)
        said = re.sub(r"(created|machine|time|seconds|versions.python)[^\n]*", r"\1", said.replace(str(place), "HERE"))
        return said, json.loads(codes.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def environment():
    folder = Path(tempfile.mkdtemp(prefix="environments-"))
    folder.chmod(0o777)
    yield Environment(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def usual(environment):
    said, codes = environment(LC_ALL="C.UTF-8")
    assert codes == ENDS
    assert said.count("== ") == len(ENDS) + 2
    return said


def test_in_plain_ascii_nothing_is_lost_but_the_signs(environment, usual):
    said, codes = environment(LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert codes == ENDS
    assert said == usual.encode("ascii", "backslashreplace").decode()


def test_where_every_warning_is_an_error(environment, usual):
    assert environment(flags=["-Werror"], LC_ALL="C.UTF-8") == (usual, ENDS)


def test_with_closed_output(environment, usual):
    assert environment(shell=">&- 2>&-", LC_ALL="C.UTF-8") == ("", ENDS)


def test_without_a_home_in_a_folder_with_blanks_and_umlauts_in_its_name(environment, usual):
    folder = environment.made("Größe und Maß 雪")
    for name in ("pyproject.toml", "data", "paper", "notebooks"):
        (folder / name).symlink_to(ROOT / name)
    below = environment.made(f"{folder.name}/ein Ordner")
    assert environment(cwd=below, name="übung mit blank", HOME="/dev/null/home", LC_ALL="C.UTF-8") == (usual, ENDS)


def test_optimized_with_a_long_temporary_folder_and_workers(environment, usual):
    long = environment.made("/".join(["a-temporary-folder-of-forty-characters-"] * 5))
    said, codes = environment(flags=["-O"], options=["--workers", "1"], TMPDIR=str(long), LC_ALL="C.UTF-8")
    assert (said, codes) == (usual, ENDS)


def test_as_another_user(environment, usual):
    if os.name != "posix" or os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv, to become another user")
    before = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    if subprocess.run([*before, sys.executable, "-c", "import numba"], capture_output=True, check=False).returncode:
        pytest.skip("another user may not read this environment")
    assert environment(before=before, HOME="/nonexistent", LC_ALL="C.UTF-8") == (usual, ENDS)
