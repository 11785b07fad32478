# One environment in .venv, made with uv where it is installed, else with venv and pip.
PYTHON ?= python3
MINUTES ?= 5

.PHONY: demo test test-all test-slow bench

demo: .venv/installed
	.venv/bin/mlm-jax demo --minutes=$(MINUTES) --workdir=runs/demo

test: .venv/installed
	.venv/bin/python -m pytest -q -n 2 --dist loadfile

# What `make test` leaves out: kill loops, every recipe's smoke run, subprocesses.
test-slow: .venv/installed
	.venv/bin/python -m pytest -q -n 2 --dist loadfile -m slow

test-all: test test-slow

# The environment of `make bench` has the peers that ours is measured beside.
bench: .venv-bench/installed
	.venv-bench/bin/mlm-jax bench masking
	.venv-bench/bin/mlm-jax bench data

.venv/installed: setup.cfg pyproject.toml
	$(call environment,.venv,)

.venv-bench/installed: setup.cfg pyproject.toml
	$(call environment,.venv-bench,torch==2.13.0 transformers)

define environment
	@if command -v uv > /dev/null; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(1) && \
	  uv pip install --quiet --python $(1)/bin/python -e '.[test]' $(2); \
	else \
	  $(PYTHON) -m venv $(1) && $(1)/bin/python -m pip install --quiet -e '.[test]' $(2); \
	fi
	@touch $@
endef
