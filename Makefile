# The commands of README.md. Each sets up what it needs, and none repeats what is done.
PYTHON ?= python3
# Importing torch without its bytecode takes seconds, in every stage.
unexport PYTHONDONTWRITEBYTECODE VIRTUAL_ENV

READY := .venv/ready
# For what runs `python` by name, as the stages do. Not exported: .venv is made with another.
ACTIVE := PATH="$(CURDIR)/.venv/bin:$$PATH"
FORMATTED := stages tests

.PHONY: help setup demo test repro lock
help:
	@echo "make demo    the whole pipeline on 1,797 digits, offline, in about a minute"
	@echo "make test    lint and all tests, offline"
	@echo "make repro   the whole pipeline on MNIST"
	@echo "make setup   only .venv, from requirements.lock"
	@echo "make lock    renew requirements.lock from pyproject.toml"

setup: $(READY)

# uv is taken from the lock file too: pip checks its hash, and uv checks all the others.
$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else \
	"Python 3.11 to 3.13 is needed, this is %d.%d: make PYTHON=python3.12 ..." % v)'
	$(PYTHON) -m venv --clear .venv
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.lock
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.lock
	.venv/bin/uv pip sync --quiet --python .venv --require-hashes requirements.lock
	touch $@

demo: $(READY)
	rm -rf demo && mkdir demo
	git ls-files -z .dvc .gitignore dvc.yaml params.yaml stages \
		| tar --null -T - -cf - | tar -xf - -C demo
	cd demo && git init --quiet && git config user.name demo && git config user.email demo@localhost \
		&& git config commit.gpgsign false && git add . && git commit --quiet -m "The pipeline"
	cd demo && $(ACTIVE) dvc exp run --quiet -S data.dataset=digits
	@echo "The figures are in demo/reports/figures, the metrics in demo/reports/metrics."
	@echo "demo/ is a repository of its own, to play in:"
	@echo "  . .venv/bin/activate && cd demo && dvc exp run -S train.lr=0.001"

test: $(READY)
	.venv/bin/ruff check $(FORMATTED)
	.venv/bin/ruff format --check $(FORMATTED)
	@# Two workers, a thread each.
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 --dist loadfile

repro: $(READY)
	$(ACTIVE) .venv/bin/dvc repro
	@echo "The figures are in reports/figures, the metrics in reports/metrics."

lock: $(READY)
	.venv/bin/uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --group dev \
		--generate-hashes --no-annotate --no-header --upgrade -o requirements.lock pyproject.toml
