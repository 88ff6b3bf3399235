#!/usr/bin/env python3
"""Everything that has to hold before a change lands, cheapest first; stops at the first step that fails.

A table at the end compares the time of each step with its budget. A step above its budget is a warning; only the
time of all steps together can fail.
"""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORES = 2
LIMIT = 88  # minutes for all steps together

# Name, budget in minutes (None: it has none), cores that it uses, command. Steps with one core run side by side.
STEPS = [
    ("installs", 4, 2, "make .venv/.ready .venv-ptx/.ready .venv-peers/.ready"),
    ("check", 1, 2, "make check"),
    ("test", 8, 2, "make test"),
    ("nojit", 6, 1, "make test LEVEL=nojit"),
    ("ptx", 3, 1, "make test LEVEL=ptx"),
    ("sim", 2, 1, "make test LEVEL=sim"),
    ("peers", 4, 1, "make test LEVEL=peers"),
    ("gpu", None, 1, "make test LEVEL=gpu"),  # without a device each of its tests is skipped, is counted and says why
    ("outside", 1, 1, "make test LEVEL=outside"),
    ("classes", 1, 1, "make test LEVEL=classes"),
    ("faults", 3, 1, "make test LEVEL=faults"),
    ("verify", 8, 2, "make verify"),
    ("paper", None, 2, "make paper"),
]


class Step:
    """A step that has begun. One that uses all cores writes as it goes; the log of another is printed when it ends."""

    def __init__(self, name, budget, cores, command):
        self.name, self.budget, self.cores, self.command = name, budget, cores, command
        self.log = tempfile.TemporaryFile() if cores < CORES else None  # noqa: SIM115 (closed when it is printed)
        print(f"==> {command}", flush=True)
        self.start = time.monotonic()
        how = {"stdout": self.log, "stderr": subprocess.STDOUT} if self.log else {}
        self.process = subprocess.Popen(shlex.split(command), cwd=ROOT, **how)

    def has_ended(self):
        """Print the log of a step that has ended, and note its time."""
        if self.process.poll() is None:
            return False
        self.minutes = (time.monotonic() - self.start) / 60
        if self.log:
            self.log.seek(0)
            print(f"--- log of {self.command}", flush=True)
            sys.stdout.buffer.write(self.log.read())
            sys.stdout.flush()
            self.log.close()
        end = "<==" if self.process.returncode == 0 else "FAILED:"
        print(f"{end} {self.command} after {60 * self.minutes:.0f} s", flush=True)
        return True

    def stop(self):
        """End a step; make ends what it has started."""
        self.process.terminate()
        self.process.wait()
        if self.log:
            self.log.close()


def run(steps):
    """Run the steps in order, as many at once as there are cores. Return those that ended, and whether all passed."""
    waiting, running, ended = list(steps), [], []
    try:
        while waiting or running:
            while waiting and sum(step.cores for step in running) + waiting[0][2] <= CORES:
                running.append(Step(*waiting.pop(0)))
            time.sleep(0.1)
            for step in [step for step in running if step.has_ended()]:
                running.remove(step)
                ended.append(step)
                if step.process.returncode:
                    return ended, False
    finally:
        for step in running:
            step.stop()
    return ended, True


def table(ended, total):
    """Return the lines of the table of times, with a warning for each step above its budget."""
    lines = [f"{'step':10}{'minutes':>8}{'budget':>8}"]
    for step in ended:
        budget = "" if step.budget is None else step.budget
        late = step.budget is not None and step.minutes > step.budget
        lines.append(f"{step.name:10}{step.minutes:8.1f}{budget:>8}{'  WARNING: above its budget' if late else ''}")
    return [*lines, f"{'all':10}{total:8.1f}{LIMIT:>8}"]


def main():
    """Run all steps and print the table; the exit code is 0 if everything passed in time."""
    # With a local copy of the data sets nothing is downloaded.
    data = ROOT.parent / "shared" / "data"
    if data.is_dir():
        os.environ["LOOKAHEAD_NB_DATA"] = str(data)
    # Half of the planted faults, chosen by the commit, so that the slowest machine stays below the limit.
    os.environ.setdefault("PLANTED_PARTS", "2")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the steps are ended too
    start = time.monotonic()
    ended, passed = run(STEPS)
    total = (time.monotonic() - start) / 60
    print(*table(ended, total), sep="\n")
    if not passed:
        sys.exit(f"FAILED: {ended[-1].command}")
    if total > LIMIT:
        sys.exit(f"FAILED: all steps took {total:.0f} minutes together; the limit is {LIMIT}")
    print(f"passed: {', '.join(step.name for step in ended)}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
