# Every target sets up .venv by itself, which takes a tenth of a second when nothing changed.
#
#   make run ARGS="--preset fast --dataset mnist"     PYTHON=/path/to/python3.13 make setup

.DEFAULT_GOAL := help
.PHONY: help setup run test lint e2e e2e-kubeflow e2e-flink e2e-spark image bench bench-data dist constraints clean

BIN := .venv/bin
ARGS ?=
# A file's tests stay together, for what they share, in the order of tests/conftest.py; each process
# holds TensorFlow, about 1 GB.
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
DIR ?=
export PYTHON

help:
	@echo 'make setup        the virtual environment .venv (every other target does it too)'
	@echo 'make run          a quick run: data in, a released model out; ARGS="..." are its flags'
	@echo 'make test         all tests but the end-to-end ones; ARGS="..." go to pytest'
	@echo 'make e2e          the end-to-end tests: whole runs'
	@echo 'make e2e-kubeflow the image, and three runs in its containers; needs Docker or Podman'
	@echo 'make e2e-flink    runs on a Flink cluster of this machine; needs Java and Maven'
	@echo 'make e2e-spark    the same on a Spark cluster'
	@echo 'make lint         ruff, mypy, import-linter'
	@echo 'make bench        the measurements of benchmarks/, some hours; DIR=... holds MNIST as IDX files'
	@echo 'make image        the image of the product, by Docker or buildah; IMAGE=NAME FLAVOUR=cpu|cuda'
	@echo 'make dist         the source archive and the wheel, in dist/'
	@echo 'make constraints  locks the newest versions that go together, in constraints/'
	@echo 'make clean        removes .venv, dist/ and the caches; pipeline_root/ stays'

setup:
	@scripts/set-up

run: setup
	@$(BIN)/tfx-mnist run $(ARGS)

test: setup
	$(PYTEST) --ignore=tests/e2e $(ARGS)

e2e: setup
	$(PYTEST) tests/e2e $(ARGS)

e2e-kubeflow: setup
	@scripts/e2e-kubeflow $(ARGS)

e2e-flink e2e-spark: e2e-%: setup .%/fetched
	TFX_MNIST_JARS='$(CURDIR)/.$*' $(BIN)/python -m pytest tests/e2e/test_beam_runners.py -k $* $(ARGS)

# Flink, 150 MB, or Spark, 280 MB, and Beam's job server for it.
.flink/fetched .spark/fetched: .%/fetched: tests/e2e/%.xml
	@command -v mvn >/dev/null || { echo 'tfx-mnist: no Maven here: apt-get install maven, with Java' >&2; exit 1; }
	@rm -rf .$*
	@mvn --quiet --batch-mode --file $< dependency:copy-dependencies -DoutputDirectory='$(CURDIR)/.$*' \
		|| { echo 'tfx-mnist: Maven could not fetch $* from Maven Central, as it says above' >&2; exit 1; }
	@touch $@

bench: bench-data setup
	$(BIN)/python benchmarks/versus_article.py '$(DIR)'
	$(BIN)/python benchmarks/presets.py '$(DIR)'
	$(BIN)/python benchmarks/presets.py '$(DIR)' --presets best --seeds 3
	$(BIN)/python benchmarks/cached_run.py '$(DIR)'
	$(BIN)/python benchmarks/growth.py '$(DIR)' --runs 3
	$(BIN)/python benchmarks/training.py '$(DIR)' --runs 3
	$(BIN)/python benchmarks/training.py '$(DIR)' --peak --options plain --runs 3
	$(BIN)/python benchmarks/gate_on_mnist.py '$(DIR)'
	$(BIN)/python benchmarks/data_checks.py
	$(BIN)/python benchmarks/data_checks.py '$(DIR)' --seeds 5
	$(BIN)/python -m benchmarks.memory '$(DIR)'
	$(BIN)/python -m benchmarks.memory

bench-data:
	@test -d '$(DIR)' || { echo 'make bench: DIR is "$(DIR)", expected the directory of the IDX files: make bench DIR=...' >&2; exit 2; }

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# It needs no .venv: all that it installs, it installs into the image.
image:
	@IMAGE='$(IMAGE)' FLAVOUR='$(FLAVOUR)' scripts/build-image $(ARGS)

dist: setup
	rm -rf build/bdist.* build/lib dist
	@$(BIN)/python -c 'from setuptools.build_meta import *; build_sdist("dist"); build_wheel("dist")' >build/dist.log 2>&1 \
		|| { tail -n 20 build/dist.log; exit 1; }
	@rm -rf build/lib build/bdist.* tfx_mnist.egg-info # which Python would take for what is installed
	@ls -l dist

constraints:
	@scripts/lock

clean:
	rm -rf .venv .uv .kfp .flink .spark build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find pipeline components trainer tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
