#!/bin/sh
# Builds and installs the wheel in an environment of its own, and runs formix-pubsub's tests, this package's and mypy.
#
#   PUBSUB_LIBRARY   the library to put into the wheel; without it cargo builds it
#   PYTHON           the interpreter, 3.10 or later (python3)
#
# All that it makes is below build/python at the root of the repository, and a store in /dev/shm that it removes.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$root/build/python
python=${PYTHON:-python3}

say() { printf '\n== python: %s\n' "$*"; }
fail() { printf 'python: %s\n' "$*" >&2; exit 1; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "$python is older than 3.10; name another in PYTHON"

if [ -z "${PUBSUB_LIBRARY:-}" ]; then
    say "the library"
    (cd "$root" && cargo build --quiet --release --lib) || fail "the library cannot be built"
    PUBSUB_LIBRARY=${CARGO_TARGET_DIR:-$root/target}/release/libpubsub.so
fi
PUBSUB_LIBRARY=$(realpath "$PUBSUB_LIBRARY")
[ -f "$PUBSUB_LIBRARY" ] || fail "there is no library at $PUBSUB_LIBRARY"

say "the tools"
mkdir -p "$build"
venv=$build/venv
[ -x "$venv/bin/pip" ] || "$python" -m venv "$venv" || fail "no virtual environment can be made (apt: python3-venv)"
pip="$venv/bin/pip --quiet --disable-pip-version-check"
$venv/bin/python -c 'import hatchling, mypy, zmq' 2>/dev/null ||
    $pip install hatchling mypy pyzmq || fail "hatchling, mypy and pyzmq cannot be installed"
if [ ! -d "$build/formix-tests" ]; then
    rm -rf "$build/formix-sdist" "$build/formix"
    $pip download --no-deps --no-binary :all: --no-build-isolation --dest "$build/formix-sdist" formix-pubsub==1.0.0 ||
        $pip download --no-deps --no-binary :all: --dest "$build/formix-sdist" formix-pubsub==1.0.0 ||
        fail "formix-pubsub 1.0.0 cannot be downloaded"
    # The package, to talk to; its tests apart from it, or they would test it.
    $pip install --no-deps --target "$build/formix" formix-pubsub==1.0.0 || fail "formix-pubsub cannot be installed"
    tar -xzf "$build"/formix-sdist/*.tar.gz -C "$build/formix-sdist"
    mkdir "$build/formix-tests"
    cp -r "$build"/formix-sdist/*/tests "$build/formix-tests/"
fi

say "the wheel"
rm -rf "$build/dist"
PUBSUB_LIBRARY=$PUBSUB_LIBRARY $pip wheel --no-deps --no-build-isolation --wheel-dir "$build/dist" "$here" ||
    fail "the wheel cannot be built"
# Nothing may compile: from here on there is no compiler, and no other library.
PATH=$venv/bin CC=false $venv/bin/pip --quiet --disable-pip-version-check install --no-deps --no-index --force-reinstall \
    "$build"/dist/*.whl || fail "the wheel cannot be installed"
ls "$build/dist"

unset PUBSUB_LIBRARY PYTHONPATH
store=$(mktemp -d "/dev/shm/pubsub-python-XXXXXX" 2>/dev/null || mktemp -d)
trap 'rm -rf "$store"' EXIT
trap 'exit 130' INT TERM
unset PUBSUB_TRANSPORT

say "formix-pubsub's tests, in full over files"
log=$build/formix.log
(cd "$build/formix-tests" && PUBSUB_TRANSPORT=files PUBSUB_HOME=$store/formix "$venv/bin/python" -m unittest discover -s tests) >"$log" 2>&1 || {
    cat "$log"
    fail "formix-pubsub's tests fail"
}
tail -n 3 "$log"
grep -q '^Ran 59 tests' "$log" || fail "formix-pubsub's tests are 59, and not so many ran"

say "formix-pubsub's tests over the ring, but those that look for message files"
(cd "$build/formix-tests" && PUBSUB_TRANSPORT=ring PUBSUB_HOME=$store/ring \
    "$venv/bin/python" "$here/tests/formix_on_the_ring.py" tests) >"$log" 2>&1 || {
    cat "$log"
    fail "formix-pubsub's tests fail over the ring"
}
tail -n 3 "$log"

say "tests"
(cd "$here" && PUBSUB_HOME=$store/own FORMIX_PATH=$build/formix PYTHONDONTWRITEBYTECODE=1 \
    "$venv/bin/python" -W error::ResourceWarning -m unittest discover -t . -s tests) || fail "the tests fail"

say "types"
(cd "$here" && "$venv/bin/mypy" --cache-dir "$build/mypy" && "$venv/bin/mypy" --strict --cache-dir "$build/mypy" \
    "$root"/examples/python/*.py bench.py) || fail "mypy finds errors"

say "done"
