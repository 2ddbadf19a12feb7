#!/usr/bin/env bash
# setup.sh [demo|test]: installs what is missing. `demo`: what the demo needs; `test` (the default): everything.
#
# apt is asked only for what is missing, through sudo when not root. What is missing and cannot be installed is an
# error that names it. formix-pubsub comes from PyPI into build/venv, koffi from npm into
# bindings/node/node_modules; for the tests also websockets and schemathesis from PyPI, and playwright-core from npm.
# Nothing else is downloaded.
source "$(dirname "$0")/lib.sh"

FORMIX_VERSION=1.0.0

# ---- the tools: "name|apt package|what for"; a tool is there when its check_<name> succeeds ----
DEMO_TOOLS=(
    "cc|gcc libc6-dev|compiling C programs"
    "pkg_config|pkg-config|compiling against the installed library"
    "python3|python3|the demo and its Python programs (3.11 or newer)"
    "venv|python3-venv|a Python environment of its own"
    "cxx|g++|compiling C++ programs"
    "go|golang-go|the Go package and its programs (1.19 or newer)"
    "node|nodejs npm|the Node package and its programs (20 or newer; where apt has an older one, see https://nodejs.org)"
)
TEST_TOOLS=(
    "clangxx|clang|checking the C++ header with a second compiler"
    "cmake|cmake make|the CMake package, by a project that uses it"
    "valgrind|valgrind libc6-dbg|memory checks of the C programs"
    "nm|binutils|checking the exported symbols"
    "curl|curl|the gateway's documented requests"
    "chromium|chromium|the gateway's dashboard in a browser"
    "tmux|tmux|the command's live screen, on a terminal"
)

links() { printf 'int main(void){return 0;}\n' | "$@" -o "$scratch/a.out" - 2>/dev/null; }
check_cc() { have "${CC:-cc}" && links "${CC:-cc}" -x c; }
check_cxx() { have "${CXX:-c++}" && links "${CXX:-c++}" -x c++; }
check_clangxx() { have clang++ && links clang++ -x c++; }
check_cmake() { have cmake && have make; }
check_pkg_config() { have pkg-config; }
check_python3() { have python3 && python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; }
check_go() { have go && go version | awk '{ split(substr($3, 3), v, "."); exit !(v[1] > 1 || v[2] >= 19) }'; }
check_node() { have npm && have node && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; }
check_venv() { have python3 && python3 -c 'import venv, ensurepip' 2>/dev/null; }
# That it is there is not enough: without the C library's debug symbols it may refuse to start.
check_valgrind() { have valgrind && valgrind -q --error-exitcode=9 /bin/true >/dev/null 2>&1; }
check_tmux() { have tmux; }
check_curl() { have curl; }
check_chromium() { have "${CHROMIUM:-chromium}"; }
check_nm() { have nm && have readelf; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@" # no terminal to ask for a password: fail at once instead
    fi
}

apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" </dev/null >&2; }

# install_missing TOOL...: one apt run for all that is missing, then each is checked again.
install_missing() {
    local entry name packages purpose missing=() wanted=()
    for entry in "$@"; do
        IFS='|' read -r name packages purpose <<<"$entry"
        if ! "check_$name"; then
            missing+=("$entry")
            # shellcheck disable=SC2206  # packages are words
            wanted+=($packages)
        fi
    done
    [ ${#missing[@]} -gt 0 ] || return 0

    local command="apt-get install ${wanted[*]}"
    if have apt-get && { [ "$(id -u)" = 0 ] || have sudo; }; then
        say "installing what is missing: ${wanted[*]}"
        # The package lists of a fresh machine may be absent or old: refresh them and try once more.
        apt install --no-install-recommends "${wanted[@]}" ||
            { apt update && apt install --no-install-recommends "${wanted[@]}"; } ||
            say "'$command' failed"
    fi
    for entry in "${missing[@]}"; do
        IFS='|' read -r name packages purpose <<<"$entry"
        "check_$name" || die "'${name//_/-}' is missing or does not work (for: $purpose) and could not be installed;" \
            "run as root: $command"
    done
}

# rustfmt and clippy may be absent from a minimal toolchain.
rust_component() {
    cargo "$1" --version >/dev/null 2>&1 && return
    have rustup && rustup component add "$2" >&2 || true
    cargo "$1" --version >/dev/null 2>&1 || die "'cargo $1' is missing and could not be installed;" \
        "run: rustup component add $2"
}

check_formix() {
    [ -x "$VENV/bin/python" ] && "$VENV/bin/python" - "$FORMIX_VERSION" <<'PYTHON' 2>/dev/null
import importlib.metadata, sys
sys.exit(importlib.metadata.version("formix-pubsub") != sys.argv[1])
PYTHON
}

install_formix() {
    check_formix && return
    say "installing formix-pubsub $FORMIX_VERSION from PyPI into build/venv"
    rm -rf "$VENV"
    python3 -m venv "$VENV" || die "python3 -m venv $VENV failed"
    "$VENV/bin/pip" install --quiet --disable-pip-version-check "formix-pubsub==$FORMIX_VERSION" >&2 ||
        die "formix-pubsub could not be installed from PyPI; try: $VENV/bin/pip install formix-pubsub==$FORMIX_VERSION"
    check_formix || die "formix-pubsub $FORMIX_VERSION is not in build/venv although pip said so; remove build/venv and try again"
}

# What the Node package needs to run: koffi, in the version that its lock file names.
install_koffi() {
    (cd bindings/node && node -e 'require("koffi")' 2>/dev/null) && return
    say "installing koffi from npm into bindings/node/node_modules"
    (cd bindings/node && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error >&2) ||
        die "npm could not install koffi; try: cd bindings/node && npm ci --omit=dev --ignore-scripts"
}

# What the gateway's tests need: a WebSocket client in Python, schemathesis, and what drives the browser.
install_gateway_tests() {
    local packages=(websockets==15.0.1 schemathesis==4.32.5)
    "$VENV/bin/python" -c 'import websockets, schemathesis' 2>/dev/null || {
        say "installing ${packages[*]} from PyPI into build/venv"
        "$VENV/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}" >&2 ||
            die "${packages[*]} could not be installed from PyPI into build/venv"
    }
    [ -d tests/gateway/browser/node_modules/playwright-core ] || {
        say "installing playwright-core from npm into tests/gateway/browser/node_modules"
        (cd tests/gateway/browser && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2) ||
            die "npm could not install playwright-core; try: cd tests/gateway/browser && npm ci --ignore-scripts"
    }
}

level=${1:-test}
case $level in
    demo | test) ;;
    *) die "usage: setup.sh [demo|test]" ;;
esac
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

[ "$(uname -s)" = Linux ] || die "the demo and the tests need Linux; 'make' alone builds on other Unix systems"
need_cargo
install_missing "${DEMO_TOOLS[@]}"
install_formix
install_koffi
if [ "$level" = test ]; then
    install_missing "${TEST_TOOLS[@]}"
    rust_component fmt rustfmt
    rust_component clippy clippy
    install_gateway_tests
fi
