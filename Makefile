# make run: everything from a bare Python 3.11 to finished sample videos. make help lists the rest.
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed
TESTS := .venv/.installed-tests
HUB_PROXY := configurable-http-proxy@4.6.3
export HF_HUB_OFFLINE := 1
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: bench bench-compare browser nginx help run test test-fast test-faults lint docs tour lab models train-base evaluate dist clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

# The stamp is younger than the list of dependencies: nothing to install, nothing is asked of pip.
$(STAMP): pyproject.toml constraints/base.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints/base.txt -e '.[notebooks,docs,dev]'
	@touch $@

# What the tests need beside that: extras that few people install. The hub's proxy is a Node program;
# without npm, the tests that need it are skipped and say so.
$(TESTS): $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints/base.txt -e '.[cluster,cluster-tests,hub]'
	@if command -v npm >/dev/null; then \
	  npm install --silent --no-audit --no-fund --prefix .venv/hub $(HUB_PROXY) || \
	  echo "the hub's proxy could not be installed: the tests of JupyterHub are skipped"; \
	else echo "npm is missing: the tests of JupyterHub are skipped"; fi
	@touch $@

models: $(STAMP)  ## fetch and verify the pretrained face models
	@$(BIN)/heygem models pull

run: models  ## make the sample videos: params/demo.yaml through notebooks/10_generate.ipynb
	@$(BIN)/heygem run params/demo.yaml

# The tests of the notebooks open a real browser. A CI machine gets one; elsewhere, without one, they
# are skipped and say so.
browser:
	@command -v chromium >/dev/null || test -z "$$CI" || \
	  { apt-get -qq update && apt-get -qq install -y chromium >/dev/null; }

# So do the tests of the reverse proxy with nginx.
nginx:
	@command -v nginx >/dev/null || test -z "$$CI" || \
	  { apt-get -qq update && apt-get -qq install -y nginx-light >/dev/null; }

# Two processes, a file at a time; the browser's tests run alone, because a busy machine times out.
test: models browser nginx $(TESTS)  ## run all tests
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not browser"
	@$(BIN)/python -m pytest -q -m browser

test-fast: models $(TESTS)  ## run the tests that need no more than a moment each: under a minute in all
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow and not browser"

test-faults: models $(TESTS)  ## run the tests that kill, fill the disk, damage and forge (make test runs them too)
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "fault and not browser"

lint: $(STAMP)  ## check style and types, and that notebooks carry no outputs
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/nbstripout --keep-id --verify notebooks/*.ipynb

# The tour is a page with pictures of the samples, made by running its notebook.
tour: models
	@rm -rf runs/tour  # results of an earlier tour, perhaps under other keys
	@$(BIN)/jupyter nbconvert --log-level ERROR --execute --to markdown \
	  --output-dir docs --output tour notebooks/00_tour.ipynb

docs: tour  ## run the tour notebook, and build the documentation and API reference into site/
	@$(BIN)/mkdocs build --quiet --strict

train-base: models  ## train the shipped lips model: make train-base DATA=folder-of-videos
	@test -n "$(DATA)" || { echo "say where the videos are: make train-base DATA=folder" >&2; exit 2; }
	@$(BIN)/heygem train lips "$(DATA)" --overwrite --out heygem/lips/weights/lips.safetensors
	@cd heygem/lips/weights && sha256sum *.safetensors > SHA256SUMS

evaluate: models  ## measure the mouths: make evaluate DATA=folder-of-videos
	@test -n "$(DATA)" || { echo "say where the videos are: make evaluate DATA=folder" >&2; exit 2; }
	@$(BIN)/heygem evaluate "$(DATA)" --finetune-seconds 15,30,60,180 --save-visuals

BENCH := benchmarks/speed.py
bench: models  ## measure speed and memory against the targets: make bench [OUT=bench.json]
	@$(BIN)/python $(BENCH) --json $(or $(OUT),bench.json)

bench-compare: $(STAMP)  ## two results of make bench side by side: make bench-compare A=before.json B=after.json
	@test -n "$(A)" -a -n "$(B)" || { echo "say which: make bench-compare A=one.json B=other.json" >&2; exit 2; }
	@$(BIN)/python $(BENCH) --compare "$(A)" "$(B)"

lab: models  ## open JupyterLab
	@$(BIN)/heygem lab

dist: $(STAMP)  ## wheel and source archive in dist/, without what heygem/config/capabilities.yaml switches off
	@$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	@$(BIN)/python -c "from setuptools import build_meta; build_meta.build_sdist('dist')" >/dev/null
	@ls dist

clean:  ## remove the environment and all runs; fetched models stay
	rm -rf .venv runs mlruns build dist *.egg-info
