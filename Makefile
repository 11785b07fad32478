# One environment in .venv, made with uv where it is installed, else with venv and pip.
PYTHON ?= python3
MINUTES ?= 5

.PHONY: demo lint test test-all test-slow test-pythons parity bench

demo: .venv/installed
	.venv/bin/mlm-jax demo --minutes=$(MINUTES) --workdir=runs/demo

# ruff and pyrefly over the whole of it.
lint: .venv/installed
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/pyrefly check

# What is compiled is kept in .cache/jax: `rm -rf .cache/jax` before, to time it from nothing. Kept
# bytecode lets the processes that tests start begin sooner.
test test-slow: export PYTHONDONTWRITEBYTECODE =
test: .venv/installed
	.venv/bin/python -m pytest -q -rs -n 2 --dist worksteal --durations=10

# What `make test` leaves out: kill loops, every recipe's smoke run, a Ray cluster, notebooks, a
# browser (chromium with its chromedriver; without them that test is skipped).
test-slow: .venv/installed-ray
	.venv/bin/python -m pytest -q -rs -n 2 --dist worksteal --durations=10 -m slow

test-all: test test-slow

# Masks, golden models and a training step with the other Pythons that are installed.
test-pythons:
	.ci/test-pythons

# Every family and its training side by side with PyTorch, in an environment that has the peers.
# `make parity REGENERATE=1` writes the numbers that `make test` compares with anew.
parity: .venv-peers/installed
	.venv-peers/bin/python -m pytest -q -rsP -n 2 --dist worksteal -m parity tests/parity

bench: .venv-peers/installed
	.venv-peers/bin/mlm-jax bench masking
	.venv-peers/bin/mlm-jax bench data
	.venv-peers/bin/mlm-jax bench step
	.venv-peers/bin/mlm-jax bench model
	.venv-peers/bin/mlm-jax bench population
	.venv-peers/bin/mlm-jax bench finetune

# keras-hub asks for TensorFlow, for preprocessing that is not used here, so it comes
# without what it asks for, and that is named one by one.
PEERS = torch==2.13.0 'transformers>=5,<6' 'sentence-transformers>=5,<7' \
	'accelerate>=1.10,<2' 'peft>=0.18,<1' \
	'keras>=3.15,<4' 'kagglehub!=1.0.1' kagglesdk==0.1.28 requests
KERAS_HUB = keras-hub==0.32.0

.venv/installed: setup.cfg pyproject.toml
	$(call environment,.venv)
	@touch $@

.venv/installed-ray: .venv/installed
	$(call install,.venv,-e '.[ray]')
	@touch $@

.venv-peers/installed: setup.cfg pyproject.toml Makefile
	$(call environment,.venv-peers,$(PEERS))
	$(call install,.venv-peers,--no-deps $(KERAS_HUB))
	@touch $@

# A comma in the text of a call would end its argument.
EXTRAS = .[dev,test,notebooks]

define environment
	@if command -v uv > /dev/null; then uv venv --quiet --allow-existing --python $(PYTHON) $(1); \
	else $(PYTHON) -m venv $(1); fi
	$(call install,$(1),-e '$(EXTRAS)' $(2))
endef

define install
	@if command -v uv > /dev/null; then uv pip install --quiet --python $(1)/bin/python $(2); \
	else $(1)/bin/python -m pip install --quiet $(2); fi
endef
