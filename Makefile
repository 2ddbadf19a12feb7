# Every target is one script: `make -n` shows which. CARGO_TARGET_DIR, PREFIX, DESTDIR and CC are respected.
PREFIX ?= /usr/local
DESTDIR ?=

.PHONY: all build setup demo test crash lint bench install uninstall clean

all: build

build:                 ## the release library and the command, into build/release
	scripts/build.sh

setup:                 ## installs what is missing: compilers, Go, Python, formix-pubsub, koffi
	scripts/setup.sh

demo:                  ## the main job on real input, programs in several languages
	scripts/demo.sh

test:                  ## sets up, then every check and test
	scripts/test.sh

lint:                  ## formatting, clippy, the headers as C99 and C++17
	scripts/lint.sh

crash:                 ## five storms, PUBSUB_STORM_KILLS (20,000) processes killed in each
	scripts/crash.sh

bench:                 ## the benchmarks
	scripts/bench.sh

install:               ## library, headers, pkg-config and CMake files, command: below $(DESTDIR)$(PREFIX)
	scripts/install.sh install '$(PREFIX)' '$(DESTDIR)'

uninstall:
	scripts/install.sh uninstall '$(PREFIX)' '$(DESTDIR)'

clean:
	scripts/clean.sh
