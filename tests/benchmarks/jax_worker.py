"""JAX in a process of its own, since it reads the flags of its compiler once; and the quickest of these flags.

The defaults of XLA on a CPU change between versions, and the quickest ones for small networks are not among them. A
flag that an XLA does not know ends its process, and is left out.
"""

import multiprocessing
import os
import time

ALL_YNNPACK = ",".join(f"LIBRARY_FUSION_TYPE_{kind}" for kind in ("DOT", "ELTWISE", "REDUCE"))
FLAGS = [
    "",
    "--xla_cpu_use_thunk_runtime=false",
    "--xla_cpu_multi_thread_eigen=false",
    "--xla_cpu_prefer_vector_width=512",
    "--xla_cpu_use_onednn=true",
    "--xla_cpu_use_xnnpack=true",
    "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INVALID",  # no fusion by YNNPACK
    f"--xla_cpu_experimental_ynn_fusion_type={ALL_YNNPACK}",
    "--xla_cpu_enable_concurrency_optimized_scheduler=true",
]


def _serve(connection, flags, problems):
    """Train all problems once, then again whenever asked; send the results each time."""
    os.environ["XLA_FLAGS"] = " ".join(filter(None, (os.environ.get("XLA_FLAGS"), flags)))
    from tests.benchmarks.jax_sweep import Jax

    compiled = [Jax(problem) for problem in problems]
    connection.send([sweep() for sweep in compiled])
    while connection.recv():
        connection.send([sweep() for sweep in compiled])


class Worker:
    """Sweeps in JAX under some flags, compiled and run once; a call runs them again and returns their results.

    Raises
    ------
    EOFError
        If the process ends, as it does where XLA does not know a flag.
    """

    def __init__(self, problems, flags=""):
        self.flags = flags
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, flags, list(problems)), daemon=True)
        self.process.start()
        theirs.close()
        try:
            self.first = self.connection.recv()
        except EOFError:
            self.close()
            raise

    def __call__(self):
        self.connection.send(True)
        return self.connection.recv()

    def close(self):
        """End the process."""
        self.connection.close()
        self.process.terminate()
        self.process.join()


def quickest_flags(problem, candidates=FLAGS, times=2):
    """Return flags -> seconds of the quickest of some runs of the problem, the quickest flags first."""
    seconds = {}
    for flags in candidates:
        try:
            worker = Worker([problem], flags)
        except EOFError:
            print(f"XLA does not take {flags}", flush=True)
            continue
        try:
            taken = []
            for _ in range(times):
                start = time.perf_counter()
                worker()
                taken.append(time.perf_counter() - start)
            seconds[flags] = min(taken)
        finally:
            worker.close()
    return dict(sorted(seconds.items(), key=lambda item: item[1]))
