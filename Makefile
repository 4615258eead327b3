# The commands of this repository; `make` lists them.
#
#   make demo                       Label Studio with this backend, in the browser, until Ctrl-C
#   make test ARGS=tests/model      a part of the tests
#   make setup PYTHON=python3.12    with this Python, not the first that fits
#   PIP_EXTRA_INDEX_URL=... make setup     with PyTorch's index of CPU builds: no CUDA packages (Linux)

VENV := .venv
LABEL_STUDIO_VENV := .venv-labelstudio
LABEL_STUDIO_VERSION := 1.23.2
ML_BACKEND_VENV := .venv-ml-backend
ML_BACKEND_VERSION := 1.0.9
TORCH := torch==2.13.0
PORT ?= 9090

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LABEL_STUDIO_INSTALLED := $(LABEL_STUDIO_VENV)/.installed-$(LABEL_STUDIO_VERSION)
ML_BACKEND_INSTALLED := $(ML_BACKEND_VENV)/.installed-$(ML_BACKEND_VERSION)
PIP_QUIET := --disable-pip-version-check --no-input --progress-bar off
DEMO_EXIT ?=
# a process per core; the tests of a file stay in one process
PYTEST_JOBS ?= -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup labelstudio mlbackend browser demo screenshot run test test-slow fuzz soak lint format bench parity clean clean-all
.DELETE_ON_ERROR:

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## create .venv with the package (editable) and the development tools
	@echo "$(VENV) is ready"

labelstudio: $(LABEL_STUDIO_INSTALLED) ## create .venv-labelstudio with Label Studio
	@echo "$(LABEL_STUDIO_VENV) is ready"

mlbackend: $(ML_BACKEND_INSTALLED) ## create .venv-ml-backend with label-studio-ml, for its tests
	@echo "$(ML_BACKEND_VENV) is ready"

demo: $(INSTALLED) $(LABEL_STUDIO_INSTALLED) ## start Label Studio and the backend with example images, until Ctrl-C (DEMO_EXIT=1: check one click, then exit)
	@exec $(BIN)/label-studio-sam demo $(if $(DEMO_EXIT),--exit)

run: $(INSTALLED) ## start the backend on port 9090 (PORT=...)
	@exec $(BIN)/label-studio-sam serve --port $(PORT)

test: $(INSTALLED) $(LABEL_STUDIO_INSTALLED) $(ML_BACKEND_INSTALLED) browser ## run the tests, with a real browser (ARGS=... goes to pytest)
	$(BIN)/pytest $(PYTEST_JOBS) $(ARGS)

test-slow: $(INSTALLED) $(LABEL_STUDIO_INSTALLED) browser ## run the slow tests: Ray, hostile images, soak, faults, mutated requests
	$(BIN)/pytest $(PYTEST_JOBS) -m "(slow or fuzz) and not parity and not gpu" $(ARGS)

fuzz: $(INSTALLED) ## send a million mutated requests and thousands of damaged files (ARGS='--seed 7 --first 4711 --count 1')
	PYTHONPATH=tests $(BIN)/python tests/fuzz/bodies.py $(or $(ARGS),--count 1000000 --processes $$(nproc)) 2>fuzz.log
	$(if $(ARGS),,$(BIN)/pytest tests/fuzz/test_readers.py --hypothesis-profile=fuzz --timeout=0)

soak: $(INSTALLED) ## run mixed work for 30 minutes and check memory, files and threads (ARGS='--minutes 5')
	PYTHONPATH=tests $(BIN)/python tests/benchmarks/soak.py $(ARGS)

lint: $(INSTALLED) ## run ruff, mypy and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## format the code with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED) ## run the benchmarks of tests/benchmarks (ARGS=rle selects some)
	@found=; for script in tests/benchmarks/*.py; do \
	  echo "$$script" | grep -q -e '$(or $(ARGS),.)' || continue; \
	  case "$$script" in */report.py|*/test_*) continue;; */soak.py) [ -n "$(ARGS)" ] || continue;; esac; \
	  found=1; echo; echo "== $$script"; python=$(BIN)/python; \
	  if grep -q -F .venv-parity "$$script"; then python=.venv-parity/bin/python; fi; \
	  if [ ! -x $$python ]; then echo "passed over: compares with the reference implementations, which make parity installs"; continue; fi; \
	  PYTHONPATH=model:tests $(BIN)/python tests/benchmarks/report.py run --python $$python $$(basename "$$script" .py) || exit 1; \
	done; \
	$(BIN)/python tests/benchmarks/report.py render; \
	if [ -z "$$found" ]; then echo "no benchmark in tests/benchmarks fits '$(ARGS)'" >&2; exit 1; fi

parity: $(INSTALLED) ## compare with the reference implementations, in their own environments
	@if [ -x tests/parity/run ]; then exec tests/parity/run; else echo "no tests/parity/run: nothing to compare with yet"; fi

screenshot: $(INSTALLED) $(LABEL_STUDIO_INSTALLED) browser ## recreate the README's image, examples/screenshots/click.png
	@mkdir -p examples/screenshots
	SCREENSHOT=examples/screenshots/click.png $(BIN)/pytest tests/end_to_end -k palette_of_labels $(ARGS)

clean: ## remove caches and build output
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find backend model tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

clean-all: clean ## remove the environments and the demo with its annotations too
	rm -rf $(VENV) $(LABEL_STUDIO_VENV) $(ML_BACKEND_VENV) .venv-parity demo

# The environments. A stamp file says that one is complete, so that a second time takes no time.

# $(call make_venv,FOLDER): an environment in FOLDER, by the first Python >= 3.11 that can make one; one that works stays
define make_venv
	@set -e; chosen=; without_venv=; \
	if $(1)/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then exit 0; fi; \
	for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3 python); do \
	  command -v "$$python" >/dev/null 2>&1 || continue; \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  if "$$python" -c 'import ensurepip, venv' 2>/dev/null; then chosen=$$python; break; fi; \
	  without_venv=$$python; \
	done; \
	if [ -z "$$chosen" ] && [ -n "$$without_venv" ]; then \
	  echo "$$without_venv cannot make virtual environments. On Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; \
	elif [ -z "$$chosen" ]; then \
	  echo "Python 3.11 or newer is needed, and there is none$(if $(PYTHON), at PYTHON=$(PYTHON), on the PATH; PYTHON=/path/to/python3 names one)" >&2; exit 1; \
	fi; \
	echo "$(1): an environment with $$("$$chosen" --version) ($$(command -v "$$chosen"))"; \
	"$$chosen" -m venv --clear $(1)
endef

# $(call pip_install,FOLDER,TEXT,PACKAGES): TEXT on the screen, pip's words in FOLDER/install.log
define pip_install
	@echo "$(1): $(2)"; \
	$(1)/bin/python -m pip install $(PIP_QUIET) $(3) >>$(1)/install.log 2>&1 \
	  || { tail -n 25 $(1)/install.log >&2; echo "$(1): pip failed, see $(1)/install.log" >&2; exit 1; }
endef

$(VENV)/.made:
	$(call make_venv,$(VENV))
	@touch $@

$(INSTALLED): pyproject.toml | $(VENV)/.made
	$(call pip_install,$(VENV),PyTorch (the largest part),$(TORCH))
	$(call pip_install,$(VENV),label-studio-sam and the tools of development,-e '.[dev]')
	@touch $@

$(LABEL_STUDIO_INSTALLED):
	$(call make_venv,$(LABEL_STUDIO_VENV))
	$(call pip_install,$(LABEL_STUDIO_VENV),Label Studio $(LABEL_STUDIO_VERSION) (takes a minute or two),label-studio==$(LABEL_STUDIO_VERSION))
	@touch $@

# it cannot be imported as it installs itself, beside a Flask of 2020: so without what it asks for
$(ML_BACKEND_INSTALLED): | $(INSTALLED)
	@echo "$(ML_BACKEND_VENV): beside $(VENV), whose packages it sees"; $(BIN)/python -m venv --clear $(ML_BACKEND_VENV)
	@$(ML_BACKEND_VENV)/bin/python -c "import pathlib, sysconfig; \
	  there = pathlib.Path(sysconfig.get_path('purelib')) / 'product.pth'; \
	  site = '$(CURDIR)/' + str(next(pathlib.Path('$(VENV)').glob('lib/python*/site-packages'))); \
	  there.write_text(f'import site; site.addsitedir({site!r})\n')"
	$(call pip_install,$(ML_BACKEND_VENV),label-studio-ml $(ML_BACKEND_VERSION),--no-deps label-studio-ml==$(ML_BACKEND_VERSION))
	$(call pip_install,$(ML_BACKEND_VENV),what it imports,redis rq colorama attrs label-studio-tools)
	@touch $@

browser: # Chromium for the tests: Debian's, installed where that can be done unasked
	@if [ -n "$(CHROMIUM)" ] || command -v chromium >/dev/null || command -v google-chrome >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "chromium: from Debian's packages"; log=$$(mktemp); \
	  if apt-get update >$$log 2>&1 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium >>$$log 2>&1; \
	  then rm $$log; else tail -n 10 $$log >&2; echo "chromium: not installed, see $$log" >&2; fi; \
	else echo "chromium: not here (CHROMIUM=/path/to/it names one); the tests that need it are skipped"; fi
