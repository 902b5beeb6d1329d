# make app       create .venv and open the dashboard
# make test      create .venv with the test tools, then lint, types and all tests
# make check     lint and types beside the fast tests
# make coverage  all tests with line coverage, report in htmlcov/
# make docs      the site, in docs/_build/html
# make install   the set-up alone
# make bench     every benchmark, some minutes; results go to benchmarks/results/: BENCHMARKS="inference cost"
# make gpu       checks, a training and times on one GPU: SECONDS=540 OUT=gpu_results ARCHIVE=...
# make fuzz      10,000 damaged files and run folders, then a minute of fuzzing by coverage: FILES=..., SECONDS=...
# make soak      20 visitors for two minutes, memory and files compared at the end: MINUTES=..., SESSIONS=...
# make attack    floods of messages and parallel uploads: CONNECTIONS=..., UPLOADS=..., MEGABYTES=...
# make torture   kill a training at random moments and inside writes, compare with one left alone: KILLS=...
# make figures   the pictures and tables of README and docs
PYTHON ?= python3
BIN := .venv/bin
APP_READY := .venv/.installed
TEST_READY := .venv/.installed-test
COMPILED := .venv/.compiled
DOCS_READY := .venv/.installed-docs
BENCH_READY := .venv/.installed-bench

.PHONY: app test check fast-tests coverage docs install install-test figures bench gpu fuzz lint soak attack torture
# a file's tests share its fixtures, so they stay in one process
PARALLEL ?= --numprocesses $(shell $(PYTHON) -c "import os; print(min(os.cpu_count() or 1, 8))") --dist loadscope --no-loadscope-reorder
# the sources' byte code is kept, also where the environment says otherwise: tests start many processes
export PYTHONDONTWRITEBYTECODE =
KILLS ?= 30
MINUTES ?= 2
SESSIONS ?= 20
CONNECTIONS ?= 300
UPLOADS ?= 50
MEGABYTES ?= 512
OUT ?= gpu_results
ARCHIVE ?= ../shared/data/cifar10-jpeg.tar.gz
FILES ?= 10000
BENCHMARKS ?= inference training memory cost starts ablation by_class growth large runs dashboard load

app: $(APP_READY)
	$(BIN)/streamlit run app/main.py

lint: $(TEST_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# mypy works beside the compilation; tests with time limits have the cores to themselves
test: $(TEST_READY)
	$(MAKE) -j 2 lint $(COMPILED)
	$(BIN)/pytest $(PARALLEL) --durations=200 --durations-min=1

check: $(TEST_READY)
	$(MAKE) -j 2 lint fast-tests

fast-tests: $(COMPILED)
	$(BIN)/pytest $(PARALLEL) -m "not slow and not browser"

coverage: $(COMPILED)
	$(BIN)/pytest $(PARALLEL) --cov --cov-report=html --cov-report=term:skip-covered

docs: $(DOCS_READY)
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build/html

install: $(APP_READY)

install-test: $(TEST_READY)

soak: $(TEST_READY)
	$(BIN)/python -m tools.soak --minutes $(MINUTES) --sessions $(SESSIONS)

attack: $(TEST_READY)
	$(BIN)/python -m tools.attack --connections $(CONNECTIONS) --uploads $(UPLOADS) --megabytes $(MEGABYTES)

torture: $(TEST_READY)
	$(BIN)/python -m tools.torture --kills $(KILLS)

figures: $(TEST_READY)
	$(BIN)/python -m tools.make_figures
	$(BIN)/python -m tools.make_formats_table

bench: $(BENCH_READY)
	for subject in $(BENCHMARKS); do echo; $(BIN)/python benchmarks/$$subject.py || exit 1; done

# Not in .venv: it runs beside the machine's own torch, from the sources alone.
gpu:
	PYTHONPATH=. $(PYTHON) benchmarks/gpu.py --seconds $(or $(SECONDS),540) --out $(OUT) --archive $(ARCHIVE)

fuzz: $(TEST_READY)
	$(BIN)/python -m tests.fuzz.mutate --files $(FILES)
	$(BIN)/python -m tests.fuzz.mutate_runs --files $(FILES)
	-$(BIN)/python -m pip install --quiet -e '.[fuzz]'
	$(BIN)/python -m tests.fuzz.fuzz_checkpoint -max_total_time=$(or $(SECONDS),60)

$(BIN)/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

# The order-only dependency keeps a fresh interpreter's time stamp from causing another installation.
$(APP_READY): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -e .
	touch $@

$(TEST_READY): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --no-compile -e '.[test]'
	touch $(APP_READY) $@

# by all cores, where pip would by one; packages' own tests are left out
$(COMPILED): $(TEST_READY)
	-$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' .venv/lib
	touch $@

$(BENCH_READY): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -e '.[bench]'
	touch $(APP_READY) $(TEST_READY) $@

$(DOCS_READY): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -e '.[docs]'
	touch $(APP_READY) $@
