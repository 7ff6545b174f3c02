# `make demo` and `make test` set up everything they need: git, make and Python 3.11 are enough.
PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
FAMILIES := ingest train export latency latency-gpu control predict prefect kfp demo
COMPILE := --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet
# Images: a tag of version and commit, so that one tag is one code. Every stage builds without BuildKit as well.
BASE_IMAGE ?= python:3.11-slim
IMAGE_PREFIX ?= graft-
IMAGES ?= control ingest latency export train latency-gpu
IMAGE_TAG ?= $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' components/__init__.py)-$(shell git describe --always --dirty)
# No telemetry, and no network at run time: what is not installed is an error, not a download.
export DO_NOT_TRACK := 1
export HF_HUB_OFFLINE := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
# Else each process of a run, and each worker of the tests, would compile the code anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-conformance test-latency test-million test-large test-faults test-resume test-backbones check format docs mutants bench bench-long images test-docker requirements clean test-schedule test-prefect test-scale

demo: .venv/demo.installed  ## installs Graft, and runs the whole pipeline on images of fabric into ./graft-store
	$(BIN)/graft demo

test: .venv/dev.installed  ## the default suite
	$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test-resume: .venv/dev.installed  ## kills a training at least twenty times; it must end with the same bytes; and a pod's, under torchrun
	$(BIN)/pytest -s -m slow tests/finetune/test_resume.py tests/pipelines/test_kfp_training.py

test-backbones: .venv/dev.installed  ## every recipe's backbone from images to a reloaded ONNX file, at its own size
	$(BIN)/pytest tests/backbones -m "slow or not slow" --durations=10

test-conformance: .venv/dev.installed  ## right and faulty clients of a real EfficientNet-Lite0: each fault is named
	$(BIN)/pytest -m slow -s tests/pipelines/test_conformance_real.py

test-latency: .venv/dev.installed  ## measured twice on an idle machine, latency agrees with itself; in less than 30 s
	$(BIN)/pytest -m slow -s tests/latency/test_again.py

test-large: .venv/dev.installed  ## weights over 2 GiB: a ViT-Huge is exported and agrees with torch, two wide layers in fp16 and int8; 13 GiB of memory
	$(BIN)/pytest -m slow tests/export_onnx/test_large.py --durations=1

test-million: .venv/dev.installed  ## a manifest of a million rows is listed
	$(BIN)/pytest -m slow tests/ingest/test_odd_files.py --durations=1

test-scale: .venv/dev.installed  ## 100,000 images: ingest's peak memory and rate; GRAFT_SCALE_IMAGES for another number
	$(BIN)/pytest -m slow -s tests/ingest/test_ingest_scale.py

test-faults: .venv/dev.installed  ## hundreds of injected faults, 30 kills, full disks, 50 rounds of 8 promotions at once
	$(BIN)/pytest -m "slow or not slow" -s tests/faults
	GRAFT_ROUNDS=50 $(BIN)/pytest tests/promote/test_promote.py -k at_once

test-prefect: .venv/dev.installed  ## a run recorded by a Prefect server: flow run, tasks, tables and links; infra/prefect on a worker
	$(BIN)/pytest -m slow tests/e2e/test_prefect_server.py tests/infra/test_prefect.py

test-schedule: .venv/dev.installed  ## MINUTES (60) of a minute's cron with a growing source; build/schedule/serve.log tells
	rm -rf build/schedule
	$(BIN)/python -m tests.schedule_proof build/schedule $(MINUTES)

check: .venv/dev.installed  ## ruff and mypy
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/dev.installed  ## lets ruff format the code and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/dev.installed  ## write the step tables of the README anew
	$(BIN)/python -m pipelines.tables README.md

mutants: .venv/dev.installed  ## plants bugs in a copy of the code; each must turn the suite red
	$(BIN)/python -m tests.mutants

bench: .venv/dev.installed .venv-aws/installed  ## all benchmarks, or BENCH=name: ours against a peer, one JSON line each
	$(BIN)/python -m tests.benchmarks $(BENCH)

bench-long: .venv/dev.installed .venv-aws/installed .venv-fastai/installed  ## the benchmarks that take many minutes, or BENCH=name of one
	$(BIN)/python -m tests.benchmarks --long $(BENCH)

.venv-aws/installed: | .venv/bin/uv  ## the AWS CLI, the peer of the benchmarks store_upload and store_download
	$(BIN)/uv venv --quiet .venv-aws
	$(BIN)/uv pip install --quiet --python .venv-aws/bin/python awscli==1.46.3
	@touch $@

.venv-fastai/installed: | .venv/bin/uv  ## fastai, the peer of the long benchmarks
	$(BIN)/uv venv --quiet .venv-fastai
	$(BIN)/uv pip install --quiet --python .venv-fastai/bin/python fastai==2.8.12 timm==1.0.31 safetensors
	@touch $@

.venv/bin/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)

.venv/%.installed: docker/requirements/%.txt pyproject.toml | .venv/bin/uv
	$(BIN)/uv pip install --compile-bytecode --python $(BIN)/python --require-hashes -r $<
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

images:  ## build an image a step family; BASE_IMAGE, IMAGE_PREFIX, IMAGE_TAG and IMAGES say which
	for family in $(IMAGES); do \
	  docker build --network=host --build-arg BASE_IMAGE=$(BASE_IMAGE) --file docker/Dockerfile --target $$family \
	    --tag $(IMAGE_PREFIX)$$family:$(IMAGE_TAG) . || exit 1; \
	done
	docker images --format '{{.Size}}	{{.Repository}}:{{.Tag}}' | grep -F ':$(IMAGE_TAG)'

TEST_BASE := graft-base:bookworm
test-docker: .venv/dev.installed  ## the images, and a run on Kubeflow's local runner; needs root, docker, debootstrap
	tests/docker/base_image.sh $(TEST_BASE)
	$(MAKE) images IMAGES="control ingest latency export train" BASE_IMAGE=$(TEST_BASE) IMAGE_PREFIX=graft-test-
	BASE_IMAGE=$(TEST_BASE) GRAFT_IMAGE_PREFIX=graft-test- GRAFT_IMAGE_TAG=$(IMAGE_TAG) \
	  $(BIN)/python -m pytest -m slow -s tests/docker

requirements: | .venv/bin/uv  ## compile the pins again from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml $(COMPILE) --extra dev -o docker/requirements/dev.txt
	for family in $(FAMILIES); do \
	  $(BIN)/uv pip compile pyproject.toml $(COMPILE) --extra $$family -c docker/requirements/dev.txt \
	    -o docker/requirements/$$family.txt || exit 1; \
	done

clean:  ## removes what was installed and built here; ./graft-store and its champions stay
	rm -rf .venv .venv-aws .venv-fastai build dist *.egg-info
