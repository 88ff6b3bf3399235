PYTHON ?= python3
LEVEL = jit
DEVICE = cpu
export PIP_DISABLE_PIP_VERSION_CHECK = 1
unexport PYTHONDONTWRITEBYTECODE # libraries are compiled when first imported, which is quicker than all of them at install, but once

# What each level of the tests runs; ptx and peers have an environment of their own. Help does not list gpu before it has run on a device;
# without one every test of it is skipped, is counted and says why. The files of jit and nojit run in several processes; what most of them need is
# compiled first, unless ARGS chooses some of the tests.
tests.jit    = $(if $(ARGS),,.venv/bin/python -m tests.support.warm_up && )$(pytest) tests $(ARGS)
tests.nojit  = NUMBA_DISABLE_JIT=1 .venv/bin/python $(if $(COVERAGE),-m coverage run) -m pytest tests -m "not jit and not no_kernel" $(ARGS)$(if $(COVERAGE), && .venv/bin/python -m coverage report)
tests.sim    = NUMBA_ENABLE_CUDASIM=1 .venv/bin/python -m pytest $(on_device) tests/levels/test_device_small.py $(ARGS)
tests.gpu    = $(level_env)/bin/python -m pytest $(on_device) tests/levels/test_torch_cuda.py $(ARGS)
pytest       = .venv/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile
on_device    = tests/levels/test_simulator.py tests/levels/test_gpu.py tests/levels/test_device_runs.py
tests.ptx    = .venv-ptx/bin/python -m pytest tests/levels/test_ptx.py $(ARGS) && EMULATED_CUDA=1 .venv-ptx/bin/python -m pytest tests/levels/test_emulated.py $(on_device) $(ARGS)
tests.peers  = .venv-peers/bin/python -m pytest tests/levels/test_peers.py tests/levels/test_rivals.py tests/levels/test_torch.py tests/levels/test_torch_database.py tests/test_models.py::test_autodiff_gives_the_same_gradient $(ARGS) && NUMBA_ENABLE_CUDASIM=1 .venv-peers/bin/python -m pytest tests/levels/test_cuda_benchmark.py tests/levels/test_torch_cuda.py $(ARGS)
tests.outside = .venv/bin/python -m pytest tests/levels/test_outside.py $(ARGS)
tests.classes = .venv/bin/python -m pytest tests/levels/test_cpu_classes.py $(ARGS)
tests.faults = .venv/bin/python -m pytest tests/levels/test_faults.py tests/levels/test_interrupted.py tests/levels/test_clusters.py $(hostile) $(ARGS)
hostile      = tests/levels/test_hostile.py tests/levels/test_environments.py

$(if $(tests.$(LEVEL)),,$(error LEVEL=$(LEVEL) is no level of the tests: choose jit, nojit, sim, ptx, peers, outside, classes, faults or gpu))
# The environment of ptx is all that a GPU needs; that of its benchmarks, where there is one, has CuPy and PyTorch too.
level_env = $(firstword $(filter .venv-$(LEVEL),.venv-ptx .venv-peers) $(if $(filter gpu,$(LEVEL)),$(wildcard .venv-gpu) .venv-ptx) .venv)

.PHONY: help test reproduce verify lab paper book api bench check lock clean

help: ## list what make can do
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile
	@echo 'Commands such as lookahead-nb lie in .venv, which make builds: ". .venv/bin/activate" puts them on your PATH.'

test: $(level_env)/.ready ## run the tests; LEVEL=nojit, sim, ptx, peers, outside, classes or faults runs another level, ARGS="-k sync" goes to pytest
	$(tests.$(LEVEL))

reproduce: .venv/.ready ## recompute notebooks, tables and figures into build/ and compare; FULL=1 adds what needs downloads, WRITE=1 replaces the committed files
	FULL=$(FULL) WRITE=$(WRITE) .venv/bin/python notebooks/reproduce.py

verify: .venv/.ready ## recompute everything from an empty store and fail on any difference; FULL=1 takes the downloaded tasks in
	rm -rf build/verify
	FULL=$(FULL) LOOKAHEAD_NB_BUILD=build/verify .venv/bin/python notebooks/reproduce.py --verify

lab: .venv/.ready ## open Jupyter on the notebooks; ARGS="--no-browser" goes to Jupyter
	JUPYTER_PREFER_ENV_PATH=1 .venv/bin/python -m jupyterlab notebooks --ContentsManager.pre_save_hook=notebooks.saving.as_built $(ARGS)

paper: .venv/.ready ## build paper/lookahead.pdf from its text and from data/
	.venv/bin/python paper/build.py

book: .venv/.ready ## write notebooks, write-up, verdicts, explorer and reference into build/book/: pages that need no network
	.venv/bin/python paper/book.py

api: .venv/.ready ## write the reference of the library into build/api/, from its docstrings
	.venv/bin/python paper/api.py

bench: .venv-$(if $(filter cuda,$(DEVICE)),ptx,peers)/.ready ## measure against PyTorch, JAX and optax, write data/timings/ and the README; ARGS=--quick only tries it
	$(bench.$(DEVICE))

bench.cpu  = $(foreach one,flat_step sweep parts groups scaling torch_model agents,.venv-peers/bin/python -m tests.benchmarks.$(one) $(ARGS) &&) true
# The peers with their CUDA libraries are gigabytes: they are fetched only where there is a device to use them on.
bench.cuda = @.venv-ptx/bin/python -c "$(has_device)" && $(MAKE) --no-print-directory .venv-gpu/.ready && \
	.venv-gpu/bin/python -m tests.benchmarks.cuda $(ARGS)
has_device = import sys; from lookahead_nb.kernels.gpu import problem; \
	sys.exit(problem() and f'nothing was measured, since no CUDA device can be used: {problem()}')

# Here and not in the rule, so that a mistyped device is refused before an environment is built.
$(if $(filter cpu cuda,$(DEVICE)),,$(error DEVICE=$(DEVICE) is nothing to measure on: choose cpu or cuda))

check: .venv/.ready ## lint, formatting and types
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy

lock: ## resolve the lock files after a change of dependencies; UPGRADE=1 moves every version
	$(if $(shell command -v uv),,$(error make lock needs uv on the PATH: install it with "pip install uv"))
	$(compile) --extra reproduce --extra cluster --extra docs --extra test --output-file requirements.lock
	$(compile) --extra cuda --group levels --constraint requirements.lock --output-file tests/ptx.lock
	$(compile) --group peers --group levels --constraint requirements.lock --output-file tests/peers.lock

compile = uv pip compile pyproject.toml --group build --universal --python-version 3.11 --fork-strategy fewest \
	--prerelease disallow --generate-hashes --no-header --no-annotate --quiet $(if $(UPGRADE),--upgrade)

clean: ## empty build/ and the caches; ALL=1 removes the environments too
	rm -rf build .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info $(if $(ALL),.venv .venv-ptx .venv-peers .venv-gpu)
	find . -name '.venv*' -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
	@echo "$(if $(ALL),The environments are gone too.,The environments stay: make clean ALL=1 removes them.)"

# An environment is made anew when its lock says something else, the package in it when pyproject.toml or the version is newer. The stamps lie inside
# and are written last, so a half-made environment is never taken for whole; .locked is a copy of the lock that was installed.
.venv/.locked: requirements.lock
.venv-ptx/.locked: tests/ptx.lock
.venv-peers/.locked: tests/peers.lock
.venv-gpu/.locked: tests/ptx.lock

%/.locked:
	$(if $(filter True,$(shell $(PYTHON) -c 'import sys; print((3, 11) <= sys.version_info < (3, 14))' 2>&1)),,\
		$(error $(PYTHON) is not a Python from 3.11 to 3.13: name one that is, as in "make $(MAKECMDGOALS) PYTHON=python3.12"))
	@cmp -s $< $@ || { echo "Building $* from $<: once, a minute or two." && rm -f $*/.ready $@ && \
		$(PYTHON) -m venv --clear $* && \
		$*/bin/python -m pip install -qq --no-compile --require-hashes --only-binary :all: --requirement $< && cp $< $@; }
	@touch $@

# Only torch is missing from the lock of the peers, so that is all the extra still fetches.
.venv-peers/.ready: extras = [peers]
# On a GPU the peers bring their own CUDA libraries, of which no lock would hold for every machine either.
.venv-gpu/.ready: extras = [cuda,peers,peers-cuda]

%/.ready: %/.locked pyproject.toml lookahead_nb/__init__.py
	@$*/bin/python -m pip install -qq --no-build-isolation $(if $(extras),,--no-deps) --editable '.$(extras)'
	@touch $@
	@echo '$* is ready: ". $*/bin/activate" puts lookahead-nb and its Python on your PATH.'
