#!/usr/bin/env bash
# `make install` gives what a C or C++ program needs to be compiled and run, shared and static; `make uninstall` takes it away.
source "$(dirname "$0")/lib.sh"

prefix=$scratch/prefix
version=$(version)
major=${version%%.*}
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig

is_link_to() { [ "$(readlink "$1")" = "$2" ]; }
soname_is() { readelf -d "$1" | grep -q "SONAME.*\[$2\]"; }
needs() { readelf -d "$1" | grep -q "NEEDED.*libpubsub"; }
needs_not() { ! needs "$1"; }
light() { ! readelf -d "$1" | grep NEEDED | grep -vE 'lib(c|m|gcc_s|dl|rt|pthread)\.so|ld-linux'; }
nothing_in() { [ -z "$(find "$1" -not -type d)" ]; }
shared_program() {
    # shellcheck disable=SC2046
    "${CC:-cc}" examples/c/publish.c -o "$scratch/shared" $(pkg-config --cflags --libs pubsub)
}
static_program() {
    # The linker prefers a shared library of the same name; the archive is asked for by its file name.
    # shellcheck disable=SC2046
    "${CC:-cc}" examples/c/publish.c -o "$scratch/static" \
        $(pkg-config --cflags --static --libs pubsub | sed 's/-lpubsub/-l:libpubsub.a/')
}
# configures WANTED: the consumer project against the prefix, asking for this version (or none).
configures() {
    rm -rf "$scratch/cmake"
    cmake -S tests/cmake -B "$scratch/cmake" -DCMAKE_PREFIX_PATH="$prefix" -DEXAMPLES="$ROOT/examples" -DWANTED="$1"
}
configures_not() {
    ! configures "$1" >"$scratch/refusal" 2>&1 && grep -q "not accepted\|compatible with requested" "$scratch/refusal"
}
cmake_builds() { cmake --build "$scratch/cmake"; }
prints() {
    local wanted=$1
    shift
    "$@" >"$scratch/printed" && same "$scratch/printed" "$wanted"
}

check "make install succeeds" make install PREFIX="$prefix" DESTDIR=
check "the library is there under its version" test -f "$prefix/lib/libpubsub.so.$version"
check "its soname leads to it" is_link_to "$prefix/lib/libpubsub.so.$major" "libpubsub.so.$version"
check "and the name that the linker looks for" is_link_to "$prefix/lib/libpubsub.so" "libpubsub.so.$major"
check "the soname is in the library" soname_is "$prefix/lib/libpubsub.so" "libpubsub.so.$major"
check "the library needs nothing but the system's" light "$prefix/lib/libpubsub.so"
check "the installed headers are the repository's" diff -r include "$prefix/include"
check "pkg-config knows the version" prints "$version" pkg-config --modversion pubsub
check "a C program compiles against it" shared_program
check "and uses the shared library" needs "$scratch/shared"
check "and runs" prints "0 channels took 'hello'" \
    env LD_LIBRARY_PATH="$prefix/lib" "$scratch/shared" install.test hello
check "a C program compiles against the archive" static_program
check "and does not use the shared library" needs_not "$scratch/static"
check "and runs by itself" prints "0 channels took 'hello'" "$scratch/static" install.test hello
series=${version%.*}
for wanted in 9 "$major.$((${series#*.} + 1))" "$version.1"; do
    check "CMake does not take version $version for $wanted" configures_not "$wanted"
done
for wanted in "$series" "$version" "$major...<$((major + 1))" ""; do
    check "CMake takes version $version for '$wanted'" configures "$wanted"
done
check "a CMake project builds" cmake_builds
for language in c cpp; do
    check "its program in $language uses the shared library" needs "$scratch/cmake/${language}_pubsub"
    check "and runs where it was built" prints "0 channels took 'hello'" \
        "$scratch/cmake/${language}_pubsub" install.test hello
    check "its program in $language with the archive does not" needs_not "$scratch/cmake/${language}_static"
    check "and runs by itself" prints "0 channels took 'hello'" "$scratch/cmake/${language}_static" install.test hello
done
check "the command runs" "$prefix/bin/pubsub" --version
check "its manual is there" grep -q "EXIT STATUS" "$prefix/share/man/man1/pubsub.1"
check "with a page for each subcommand" grep -q EXAMPLES "$prefix/share/man/man1/pubsub-sub.1"
check "make uninstall succeeds" make uninstall PREFIX="$prefix" DESTDIR=
check "and leaves no file" nothing_in "$prefix"

check "make install into a DESTDIR succeeds" make install PREFIX=/opt/pubsub DESTDIR="$scratch/image"
check "the image knows the prefix without it" grep -qx 'prefix=/opt/pubsub' \
    "$scratch/image/opt/pubsub/lib/pkgconfig/pubsub.pc"
check "make uninstall from a DESTDIR succeeds" make uninstall PREFIX=/opt/pubsub DESTDIR="$scratch/image"
check "and leaves no file there" nothing_in "$scratch/image"
finish
