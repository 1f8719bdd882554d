# weir's front door. Every target does its own set-up: it installs the Debian packages that it needs from
# scripts/packages.txt (as root, or through sudo) and does nothing when they are there.

JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
.DEFAULT_GOAL := build

.PHONY: build demo test test-all bench lint format fuzz install package clean setup-build setup-demo setup-test setup-lint

setup-build:
	@scripts/setup build
setup-demo:
	@scripts/setup build demo
setup-test:
	@scripts/setup build demo test
setup-lint:
	@scripts/setup build lint

## build: build/weir and build/libweir-preload.so
build: setup-build
	@scripts/configure release
	@cmake --build --preset release -j $(JOBS) --target weir weir-preload

## demo: a gateway between two networks in namespaces, driven by nft and conntrack
demo: setup-demo build
	@tests/e2e/demo

## test: everything that CI runs, in two builds (scripts/test); it builds what it needs
test: setup-test
	@scripts/test

## test-all: also the heavy suites: ASan, TSan, long scenarios
test-all: setup-test
	@scripts/test --all

## bench: the engine in memory, the README's figures
bench: build
	@bench/run

## fuzz: every fuzz target for FUZZ_SECONDS (default 60) each
fuzz: setup-test
	@scripts/fuzz

## lint: formatting and clang-tidy
lint: setup-lint
	@scripts/lint

## format: clang-format over the tree
format: setup-lint
	@scripts/format

## install: into PREFIX (default /usr/local)
install: build
	@cmake --install build --prefix $(PREFIX) --component program

## package: a Debian package, build/weir_VERSION_ARCHITECTURE.deb
package: build
	@cd build && cpack -G DEB

clean:
	@rm -rf build build-*
