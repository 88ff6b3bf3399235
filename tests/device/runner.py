"""Run the checks of a CUDA device one after another, each in a process of its own, and write down what they found.

Needs Python 3.11 and its standard library; what each check needs is asked of the machine first. The results are written
again after every line that a check reports, so nothing is lost when a check crashes or hangs, or when all of it is
stopped. They hold no name of the machine and no absolute path.
"""

import argparse
import json
import math
import os
import platform
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 (a foreign Python may be older, and should be told so)
    sys.exit(f"lookahead_nb needs Python 3.11 or above, got {platform.python_version()}: set PYTHON to another one")

ROOT = Path(__file__).resolve().parents[2]
MINUTES = 9.5  # in all, so that everything is written within ten
WRITTEN_EVERY = 0.5  # seconds, at the most
LOG_LINES = 15  # of the output of a check that failed
TO_END = 5  # seconds that a stopped process is waited for

PACKAGES = [
    *("numba", "llvmlite", "numba-cuda", "cuda-toolkit", "cuda-bindings", "cuda-core", "numpy", "scipy", "pandas"),
    *("scikit-learn", "torch", "jax", "jaxlib", "jax-cuda12-plugin", "jax-cuda13-plugin", "cupy-cuda12x"),
    *("cupy-cuda13x", "pytest", "hypothesis"),
]

# Name, what it shows, seconds it may take, what it needs; in order of value.
PARTS = [
    ("machine", "what is installed and works", 90, ()),
    ("step_bits", "one step has the bits of the CPU", 100, ("device",)),
    ("step_speed", "one step against PyTorch and a copy", 90, ("device",)),
    ("run_bits", "whole runs have the bits of the CPU", 130, ("device", "pandas")),
    ("sweep_speed", "a sweep against JAX and the CPU", 120, ("device", "pandas")),
    ("tests", "the tests of LEVEL=gpu", 600, ("device", "pandas", "pytest")),
]


def anonymous(value):
    """Return a value for JSON, at any depth: no absolute path, no name of the machine, None for inf and NaN."""
    if isinstance(value, dict):
        return {name: anonymous(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [anonymous(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, str):
        return value
    text = re.sub(r"(?<![\w.)])/(?:[^\s/:'\"()<>,]+/)+([^\s/:'\"()<>,]*)", r"\1", value.replace(f"{ROOT}{os.sep}", ""))
    names = {platform.node(), platform.node().partition(".")[0]} - {"", "localhost"}
    for name in sorted(names, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "HOST", text)
    return text


def tested_versions():
    """Return package -> the version in our lock files and settings."""
    texts = [
        (ROOT / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "tests/peers.lock", "tests/ptx.lock")
    ]
    return {name: number for text in texts for name, number in re.findall(r'(?:^|")([\w-]+)==([\w.]*\w)', text, re.M)}


def installed():
    """Return package -> (found version or None, tested version or None)."""
    tested, found = tested_versions(), {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return {package: {"found": found[package], "tested": tested.get(package)} for package in PACKAGES}


def processor():
    """Return the name of the CPU."""
    listed = Path("/proc/cpuinfo")
    named = listed.is_file() and re.search(r"^model name\s*: (.*)$", listed.read_text("utf-8", "replace"), re.M)
    return named[1] if named else platform.processor() or platform.machine()


class Report:
    """What was found so far, and its two files."""

    def __init__(self, folder, small):
        self.folder, self.written_at = folder, 0.0
        self.found = {
            "finished": False,
            "small": small,
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "cpu": processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "python": platform.python_version(),
            "packages": installed(),
            "parts": [],
        }
        folder.mkdir(parents=True, exist_ok=True)

    def begin(self, name, about):
        part = {"name": name, "about": about, "status": "running", "seconds": None, "records": [], "log": []}
        self.found["parts"].append(part)
        return part

    def add(self, part, record):
        """Add a record; one with an ``id`` replaces that with the same one."""
        same = [i for i, each in enumerate(part["records"]) if "id" in record and each.get("id") == record["id"]]
        if same:
            part["records"][same[0]] = record
        else:
            part["records"].append(record)
        if time.monotonic() - self.written_at > WRITTEN_EVERY:
            self.write()

    def write(self):
        clean = anonymous(self.found)
        texts = {"device.json": json.dumps(clean, indent=1) + "\n", "device.txt": "\n".join(lines_of(clean)) + "\n"}
        for name, text in texts.items():
            partial = self.folder / f".{name}"
            partial.write_text(text, encoding="utf-8")
            partial.replace(self.folder / name)
        self.written_at = time.monotonic()

    @property
    def facts(self):
        """What the first part found out: the records with a name, by name."""
        records = [record for part in self.found["parts"] for record in part["records"]]
        return {record["usable"]: record["works"] for record in records if "usable" in record}

    @property
    def failed(self):
        return [part["name"] for part in self.found["parts"] if part["status"] not in ("passed", "skipped")]


def lines_of(found):
    """Yield the lines of the text file."""
    yield f"{found['cpu']}, {found['cores']} cores; Python {found['python']}; {found['date']}"
    yield "a trial at small sizes" if found["small"] else "at full sizes"
    yield ""
    for package, versions in found["packages"].items():
        here, tested = versions["found"] or "is not installed", versions["tested"]
        yield f"{package} {here}" + (f" (tested with {tested})" if tested and tested != versions["found"] else "")
    for part in found["parts"]:
        seconds = "" if part["seconds"] is None else f" after {part['seconds']:.0f} s"
        yield ""
        yield f"{part['name']}: {part['about']}: {part['status']}{seconds}"
        yield from (f"  {record['says']}" for record in part["records"])
        yield from (f"  | {line}" for line in part["log"])
    yield ""
    yield "all parts were reached" if found["finished"] else "not all parts were reached"


class Child:
    """A part of the checks in a process group of its own, which writes its records into a pipe."""

    def __init__(self, command):
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed at the end)
        self.reader, writer = os.pipe()
        environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [*command, "--records", str(writer)],
            cwd=ROOT,
            env=environment,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            pass_fds=(writer,),
            start_new_session=True,
        )
        os.close(writer)

    def records(self, deadline):
        """Yield the records until the process has closed the pipe; TimeoutError at the deadline."""
        buffered = b""
        while True:
            ready, _, _ = select.select([self.reader], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            chunk = os.read(self.reader, 1 << 16)
            if not chunk:
                return
            *lines, buffered = (buffered + chunk).split(b"\n")
            yield from map(json.loads, lines)

    def ended(self, seconds):
        """Return the exit code, or None if the process is still there after so many seconds."""
        try:
            return self.process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return None

    def close(self):
        """End the whole group, and return the last lines it wrote."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.ended(TO_END)  # one that the driver holds in a system call cannot be ended, and is left
        os.close(self.reader)
        self.log.seek(0)
        lines = self.log.read().decode("utf-8", "replace").splitlines()[-LOG_LINES:]
        self.log.close()
        return lines


def run_part(report, part, command, seconds):
    """Run one part to its end or to its limit, and note how it ended."""
    start = time.monotonic()
    child = Child([*command, "--seconds", f"{seconds:.0f}"])
    try:
        for record in child.records(start + seconds):
            report.add(part, record)
            if "id" not in record:
                print(f"  {anonymous(record['says'])}", flush=True)
        for record in part["records"]:
            if "id" in record:
                print(f"  {anonymous(record['says'])}", flush=True)
        code = child.ended(start + seconds - time.monotonic())
        part["status"] = status_of(code, part["records"])
    except TimeoutError:
        part["status"] = f"stopped at its limit of {seconds:.0f} s"
    except BaseException:
        part["status"] = "stopped from outside"
        raise
    finally:
        log = child.close()
        part["seconds"] = round(time.monotonic() - start, 1)
        part["log"] = [] if part["status"] == "passed" else log
        report.write()


def status_of(code, records):
    """Return in words how a part ended."""
    if code is None:
        return "stopped, since it did not end"
    if code < 0:
        return f"crashed with signal {signal.Signals(-code).name}"
    if code:
        return f"failed with exit code {code}"
    return "passed" if all(record.get("ok", True) for record in records) else "failed"


def run_all(report, parts, command_of, minutes):
    """Run the parts in order, as far as the time goes; skip those that the machine has nothing for."""
    end = time.monotonic() + 60 * minutes
    for name, about, limit, needs in parts:
        part = report.begin(name, about)
        left = end - time.monotonic()
        missing = [need for need in needs if not report.facts.get(need)]
        print(f"{name}: {about}", flush=True)
        if missing:
            part["status"] = "skipped"
            report.add(part, {"says": f"needs {' and '.join(missing)}, which cannot be used here: see machine"})
        elif left < 1:
            part["status"] = "not reached"
        else:
            run_part(report, part, command_of(name), min(limit, left))
        print(f"  {part['status']}", flush=True)
        report.write()
    report.found["finished"] = not any(part["status"] == "not reached" for part in report.found["parts"])
    report.write()


def main():
    """Read the arguments, run everything, and exit with 1 if a part did not pass or no device could be used."""
    about = "Check lookahead_nb on a CUDA device with what is installed; write device.json and device.txt."
    parser = argparse.ArgumentParser(prog="tests/device/run", description=about)
    parser.add_argument("--out", type=Path, default=ROOT / "build/device", help="folder for the two files")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the checks themselves")
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"time for everything, {MINUTES} by default")
    parser.add_argument("--only", nargs="+", choices=[name for name, *_ in PARTS[1:]], help="these parts alone")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report(given.out, given.small)
    parts = [part for part in PARTS if not given.only or part[0] in ("machine", *given.only)]

    def command_of(name):
        libraries = [library for library in ("torch", "jax") if report.facts.get(library)]
        options = ["--small"] * given.small + ["--libraries", ",".join(libraries)]
        return [sys.executable, str(ROOT / "tests/device/parts.py"), name, *options]

    *header, _, _ = lines_of(anonymous(report.found))
    print("\n".join(header), flush=True)
    try:
        run_all(report, parts, command_of, given.minutes)
    finally:
        report.write()
        print(f"device.json and device.txt are in {os.path.relpath(given.out)}", flush=True)
    if not report.facts.get("device"):
        sys.exit("no CUDA device could be used: see machine")
    if report.failed:
        sys.exit(f"did not pass: {', '.join(report.failed)}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
