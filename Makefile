# The commands of README.md. Each sets up what it needs, and none repeats what is done.
# The version of Python that .venv has, or else the system's.
PYTHON ?= $(or $(wildcard .venv/bin/python),python3)
# What a hook, a notebook or a shell has set for itself: Git's variables name another repository, DVC's
# another run; Python's and Matplotlib's change what the stages do. (Importing torch without its
# bytecode takes seconds, in every stage.)
unexport $(shell env -i PATH="$$PATH" git rev-parse --local-env-vars) GIT_NAMESPACE
unexport DVC_ROOT DVC_STAGE DVC_EXP_NAME DVC_EXP_BASELINE_REV
unexport $(filter-out PYTHON,$(filter PYTHON%,$(.VARIABLES))) MPLBACKEND MATPLOTLIBRC VIRTUAL_ENV CDPATH
# A user without an account has no other name for DVC and torch.
LOGNAME ?= $(firstword $(shell id -un 2> /dev/null || id -u))
export LOGNAME

READY := setup
# For what runs `python` by name, as the stages do: the environment itself, since .venv may become a
# link to another.
ACTIVE := PATH="$$(cd .venv/bin && pwd -P):$$PATH"
FORMATTED := stages tools tests benchmarks

CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome \
	|| command -v "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
# What `make ci-report` compares with.
BASE ?= main
# Number of seeds of `make seeds`.
N ?= 10
# Parameters of `make seeds` and `make sweep`, as lists or ranges: SET="-S train.epochs=1,2".
SET ?=
# Experiments for `make compare`; the default is all of the last commit.
RUNS ?=
# Parallel runs of `make seeds` and `make sweep`; the default is half the number of cores.
JOBS ?=
# Whether `make verify` leaves out the CNN: 1 for yes.
QUICK ?=
# Whether `make doctor` mends what it finds: 1 for yes.
FIX ?=

.PHONY: help setup verify demo test test-faults audit doctor repro pdf ci-report bench seeds sweep compare lock why schema
help:
	@echo "make demo         the whole pipeline on 1,797 digits, offline, in about a minute"
	@echo "make repro        the whole pipeline on MNIST"
	@echo "make verify       are the committed results reproducible here? QUICK=1 without the CNN"
	@echo "make pdf          reports/report.pdf, the page as a document, with an installed Chromium"
	@echo
	@echo "make why          what changed, what would run because of it, and about how long"
	@echo "make compare      the experiments of this commit, as a table and a page: RUNS=\"one another\""
	@echo "make sweep        every combination of lists and ranges: SET=\"-S 'train.lr=0.1,0.2'\" JOBS=2"
	@echo "make seeds        the variation between seeds, a sweep over train.seed: N=10 SET=\"-S train.epochs=1\""
	@echo "make ci-report    make repro, and what changed against BASE=main, in ci-report/"
	@echo "make bench        how fast the training is here, in 20 to 30 minutes"
	@echo
	@echo "make doctor       what a killed run left behind, and FIX=1 mends it"
	@echo "make test         lint and all tests, offline"
	@echo "make test-faults  kills, damage, bad input and more, in full, in about an hour"
	@echo "make audit        known vulnerabilities of what requirements.lock installs"
	@echo "make setup        only .venv, from requirements.lock"
	@echo "make schema       renew params.schema.json, by which editors check params.yaml"
	@echo "make lock         renew requirements.lock from pyproject.toml"

setup:
	@$(PYTHON) -I tools/environment.py

demo: $(READY)
	@$(ACTIVE) python tools/demo.py

test: $(READY)
	$(ACTIVE) ruff check $(FORMATTED)
	$(ACTIVE) ruff format --check $(FORMATTED)
	@# Two workers, a thread each.
	$(ACTIVE) OMP_NUM_THREADS=1 python -m pytest -n 2 --dist worksteal

test-faults: $(READY)
	$(ACTIVE) OMP_NUM_THREADS=1 python -m pytest -n 2 --dist worksteal --full tests/faults \
		tests/test_readme.py

audit: $(READY)
	$(ACTIVE) pip-audit --strict --progress-spinner off --disable-pip --require-hashes -r requirements.lock

doctor: $(READY)
	$(ACTIVE) python tools/doctor.py $(if $(filter 1,$(FIX)),--fix)

why: $(READY)
	@$(ACTIVE) python tools/why.py

repro: $(READY)
	$(ACTIVE) dvc repro
	@echo "The page is reports/index.html, the metrics are in reports/metrics."
	@$(ACTIVE) python tools/verify.py --here

verify: $(READY)
	@$(ACTIVE) python tools/verify.py $(if $(filter 1,$(QUICK)),--quick)

# A profile of its own, since one that is in use would take the page and print nothing. Chromium has
# no sandbox for root, who is the user in containers.
pdf:
	@test -n "$(CHROMIUM)" || { echo "make pdf needs Chromium or Chrome: apt install chromium, \
	brew install --cask google-chrome, or make pdf CHROMIUM=/path/to/it"; exit 1; }
	@test -f reports/index.html || { echo "no reports/index.html: make repro makes it"; exit 1; }
	@rm -f reports/report.pdf
	@profile=$$(mktemp -d) && "$(CHROMIUM)" --headless --disable-gpu --no-first-run \
		--disable-background-networking --disable-component-update --disable-sync \
		$(if $(filter 0,$(shell id -u)),--no-sandbox) --user-data-dir="$$profile" \
		--no-pdf-header-footer --print-to-pdf="$$PWD/reports/report.pdf" \
		"$$PWD/reports/index.html" 2> "$$profile/log" || cat "$$profile/log"; rm -rf "$$profile"
	@test -s reports/report.pdf && echo "The document is reports/report.pdf."

ci-report: repro
	rm -rf ci-report && mkdir ci-report
	$(ACTIVE) dvc metrics diff "$(BASE)" --md > ci-report/metrics.md
	$(ACTIVE) dvc params diff "$(BASE)" --md > ci-report/params.md
	$(ACTIVE) dvc plots diff "$(BASE)" --out ci-report/plots
	cp reports/index.html data/network/model.pth ci-report/
	@{ echo "### Metrics against $(BASE)"; echo; cat ci-report/metrics.md; echo; \
		echo "### Parameters against $(BASE)"; echo; cat ci-report/params.md; } > ci-report/summary.md
	@cat ci-report/summary.md

bench: $(READY)
	$(ACTIVE) python benchmarks/bench.py

lock: $(READY)
	$(ACTIVE) uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --group dev \
		--extra sweep --generate-hashes --no-annotate --no-header --upgrade -o requirements.lock pyproject.toml

schema: $(READY)
	$(ACTIVE) python tools/schema.py

seeds: $(READY)
	$(ACTIVE) python tools/sweep.py --seeds $(N) $(if $(JOBS),--jobs $(JOBS)) $(SET)

sweep: $(READY)
	$(ACTIVE) python tools/sweep.py $(if $(JOBS),--jobs $(JOBS)) $(SET)

compare: $(READY)
	@$(ACTIVE) python tools/compare.py $(RUNS)
