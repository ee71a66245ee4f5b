# The commands of README.md. Most targets set up the environment first.
# The Python of .venv if it exists, else the system's.
PYTHON ?= $(or $(wildcard .venv/bin/python),python3)
# Remove variables set by Git hooks, notebooks and shells: Git's would select another repository and
# DVC's another run, Python's and Matplotlib's change the results, pip's and uv's install elsewhere.
# (PYTHONDONTWRITEBYTECODE disables the bytecode cache, so importing torch would take seconds in
# every stage.)
unexport $(shell env -i PATH="$$PATH" git rev-parse --local-env-vars) GIT_NAMESPACE
unexport DVC_ROOT DVC_STAGE DVC_EXP_NAME DVC_EXP_BASELINE_REV
unexport $(filter-out PYTHON,$(filter PYTHON%,$(.VARIABLES))) MPLBACKEND MATPLOTLIBRC VIRTUAL_ENV CDPATH
unexport PIP_TARGET PIP_PREFIX PIP_ROOT PIP_CONSTRAINT PIP_REQUIREMENT UV_SYSTEM_PYTHON UV_PYTHON UV_CONSTRAINT UV_OVERRIDE
export PIP_USER := 0
# DVC and torch need a user name, even if the user has no account.
LOGNAME ?= $(firstword $(shell id -un 2> /dev/null || id -u))
export LOGNAME

READY := setup
# DVC finds `python` in PATH. This is the resolved path, because a later setup may replace the link .venv.
ACTIVE := PATH="$$(cd .venv/bin && pwd -P):$$PATH"
FORMATTED := stages tools tests benchmarks
# Two workers with one thread each.
PYTEST := OMP_NUM_THREADS=1 python -m pytest -n 2 --dist worksteal

CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome \
	|| command -v "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
# The revision to compare with in `make ci-report`.
BASE ?= main
# Number of seeds for `make seeds`.
N ?= 10
# Parameter values for `make seeds` and `make sweep`, as lists or ranges: SET="-S train.epochs=1,2".
SET ?=
# Experiments for `make compare`; the default is all experiments of the last commit.
RUNS ?=
# Parallel runs of `make seeds` and `make sweep`; the default is half the number of cores.
JOBS ?=
# 1: `make verify` skips the CNN.
QUICK ?=
# 1: `make doctor` repairs what it finds.
FIX ?=
# 1: `make schema` takes all defaults from params.yaml.
DEFAULTS ?=
# 1: `make lock` upgrades all packages.
UPGRADE ?=

# `make help` prints the ## comments, in the order of this file.
.PHONY: help demo repro verify pdf why compare sweep seeds ci-report base bench doctor format hooks \
	test test-slow test-faults audit setup schema lock
help:
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p; s/^##$$//p' Makefile | expand -t 18

demo: $(READY) ## run the whole pipeline offline on 1,797 digits (about a minute)
	@$(ACTIVE) python tools/demo.py

repro: $(READY) ## run the whole pipeline on MNIST
	$(ACTIVE) dvc repro
	@echo "The page is reports/index.html, the metrics are in reports/metrics."
	@$(ACTIVE) python tools/verify.py --here

verify: $(READY) ## reproduce the committed results and compare them: QUICK=1 skips the CNN
	@$(ACTIVE) python tools/verify.py $(if $(filter 1,$(QUICK)),--quick)

# Chromium prints nothing if another process uses the same profile, so it gets a new one. Its sandbox
# does not work for root, the usual user in containers.
pdf: ## print the page to reports/report.pdf (needs Chromium)
	@test -n "$(CHROMIUM)" || { echo "make pdf needs Chromium or Chrome: apt install chromium, \
	brew install --cask google-chrome, or make pdf CHROMIUM=/path/to/it"; exit 1; }
	@test -f reports/index.html || { echo "no reports/index.html: run make repro"; exit 1; }
	@rm -f reports/report.pdf
	@profile=$$(mktemp -d) && "$(CHROMIUM)" --headless --disable-gpu --no-first-run \
		--disable-background-networking --disable-component-update --disable-sync \
		$(if $(filter 0,$(shell id -u)),--no-sandbox) --user-data-dir="$$profile" \
		--no-pdf-header-footer --print-to-pdf="$$PWD/reports/report.pdf" \
		"$$PWD/reports/index.html" 2> "$$profile/log" || cat "$$profile/log"; rm -rf "$$profile"
	@test -s reports/report.pdf && echo "The document is reports/report.pdf."

##
why: $(READY) ## show changes, outdated stages and their duration
	@$(ACTIVE) python tools/why.py

compare: $(READY) ## compare the experiments of this commit in a table and on a page: RUNS="first second"
	@$(ACTIVE) python tools/compare.py $(RUNS)

sweep: $(READY) ## run every combination of parameter values: SET="-S 'train.lr=0.1,0.2'" JOBS=2
	$(ACTIVE) python tools/sweep.py $(if $(JOBS),--jobs $(JOBS)) $(SET)

seeds: $(READY) ## measure seed-to-seed variation with a sweep over train.seed: N=10 SET="-S train.epochs=1"
	$(ACTIVE) python tools/sweep.py --seeds $(N) $(if $(JOBS),--jobs $(JOBS)) $(SET)

ci-report: base repro ## run make repro and write the differences from BASE=main to ci-report/
	mkdir ci-report
	$(ACTIVE) dvc metrics diff "$(BASE)" --md > ci-report/metrics.md
	$(ACTIVE) dvc params diff "$(BASE)" --md > ci-report/params.md
	$(ACTIVE) dvc plots diff "$(BASE)" --out ci-report/plots
	cp reports/index.html data/network/model.pth ci-report/
	@{ echo "### Metrics against $(BASE)"; echo; cat ci-report/metrics.md; echo; \
		echo "### Parameters against $(BASE)"; echo; cat ci-report/params.md; } > ci-report/summary.md
	@cat ci-report/summary.md

base:
	@rm -rf ci-report
	@git rev-parse --verify --quiet "$(BASE)^{commit}" > /dev/null || { echo "BASE=$(BASE): no such revision; \
	fetch it, or name another one: make ci-report BASE=origin/main"; exit 1; }

bench: $(READY) ## measure the training speed (20 to 30 minutes)
	$(ACTIVE) python benchmarks/bench.py

##
doctor: $(READY) ## find damage from killed runs and disk errors: FIX=1 repairs it
	$(ACTIVE) python tools/doctor.py $(if $(filter 1,$(FIX)),--fix)

format: $(READY) ## format the code and fix lint errors
	$(ACTIVE) ruff check --fix $(FORMATTED)
	$(ACTIVE) ruff format $(FORMATTED)

hooks: $(READY) ## install a Git hook that checks each commit (.pre-commit-config.yaml)
	$(ACTIVE) pre-commit install

# pytest prints the duration and the number of tests left out.
test: $(READY) ## run lint and fast tests (about two minutes)
	$(ACTIVE) ruff check $(FORMATTED)
	$(ACTIVE) ruff format --check $(FORMATTED)
	$(ACTIVE) $(PYTEST) -m "not slow"

test-slow: $(READY) ## run slow tests: whole pipelines, processes, the page in a browser
	$(ACTIVE) $(PYTEST) -m slow

test-faults: $(READY) ## run all fault tests in full, with kills, random walks and clusters (up to 90 minutes)
	$(ACTIVE) $(PYTEST) --full

audit: $(READY) ## list known vulnerabilities of the packages in requirements.lock
	$(ACTIVE) pip-audit --strict --progress-spinner off --disable-pip --require-hashes -r requirements.lock

setup: ## build .venv from requirements.lock
	@$(PYTHON) -I tools/environment.py

schema: $(READY) ## update params.schema.json: DEFAULTS=1 takes all defaults from params.yaml
	$(ACTIVE) python tools/schema.py $(if $(filter 1,$(DEFAULTS)),--defaults)

lock: $(READY) ## update requirements.lock from pyproject.toml: UPGRADE=1 takes the newest versions
	$(ACTIVE) uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --group dev \
		--extra sweep --generate-hashes --no-annotate --no-header $(if $(filter 1,$(UPGRADE)),--upgrade) \
		-o requirements.lock pyproject.toml
