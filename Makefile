# weir's front door. Every target does its own set-up: it installs the Debian packages that it needs from
# scripts/packages.txt (as root, or through sudo) and does nothing when they are there.

JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
.DEFAULT_GOAL := build

.PHONY: build demo test test-all bench lint format fuzz install clean setup-build setup-test setup-lint

setup-build:
	@scripts/setup build
setup-test:
	@scripts/setup build test
setup-lint:
	@scripts/setup build lint

## build: build/weir and build/libweir-preload.so
build: setup-build
	@cmake --preset release >/dev/null
	@cmake --build --preset release -j $(JOBS) --target weir weir-preload

## demo: a gateway between two networks in namespaces, driven by nft and conntrack
demo: setup-test build
	@tests/e2e/demo

## test: everything that CI runs
test: setup-test build
	@scripts/test

## test-all: also the heavy suites: ASan, TSan, long scenarios
test-all: setup-test build
	@scripts/test --all

## bench: the engine in memory
bench: build
	@bench/run

## fuzz: every fuzz target for FUZZ_SECONDS (default 60)
fuzz: setup-test
	@scripts/fuzz

## lint: formatting and clang-tidy
lint: setup-lint
	@scripts/lint

## format: clang-format over the tree
format: setup-lint
	@git ls-files '*.h' '*.cc' '*.c' | xargs clang-format-19 -i

## install: into PREFIX (default /usr/local)
install: build
	@cmake --install build --prefix $(PREFIX)

clean:
	@rm -rf build build-*
