#!/usr/bin/env bash
# install.sh install|uninstall PREFIX [DESTDIR]: the library, headers, pkg-config file, CMake package, the command
# and its manual.
source "$(dirname "$0")/lib.sh"

[ $# -ge 2 ] || die "usage: install.sh install|uninstall PREFIX [DESTDIR]"
action=$1 prefix=${2%/} dest=${3:-}
case $prefix in
    /*) ;;
    *) die "PREFIX must be an absolute path, not '$2'" ;;
esac
version=$(version)
to=$dest$prefix
soname=libpubsub.so.${version%%.*}
real=libpubsub.so.$version
headers=(pubsub.h pubsub.hpp pubsub/{values,headers,message,channel,publisher,topics}.hpp)
cmake=lib/cmake/Pubsub
installed=(lib/"$real" lib/"$soname" lib/libpubsub.so lib/libpubsub.a lib/pkgconfig/pubsub.pc "${headers[@]/#/include/}"
    $cmake/PubsubConfig.cmake $cmake/PubsubConfigVersion.cmake bin/pubsub)

# place MODE SOURCE TARGET: by a rename, so that a program using the old file keeps it whole.
place() {
    install -D -m "$1" "$2" "$to/$3.new"
    mv -f "$to/$3.new" "$to/$3"
}

# place_filled TEMPLATE TARGET: with what its @NAMES@ stand for.
place_filled() {
    local made escaped
    made=$OUT/${2##*/}
    escaped=$(printf '%s' "$prefix" | sed 's/[\\&|]/\\&/g')
    sed -e "s|@PREFIX@|$escaped|" -e "s|@VERSION@|$version|" -e "s|@SONAME@|$soname|" "$1" >"$made"
    place 644 "$made" "$2"
}

do_install() {
    if have cargo; then
        scripts/build.sh
    elif [ ! -f "$OUT/pubsub" ]; then
        need_cargo
    fi
    local header
    for header in "${headers[@]}"; do
        [ -f "include/$header" ] ||
            die "include/$header is missing: it belongs to the repository (git checkout include/$header)"
    done
    place 755 "$OUT/libpubsub.so" "lib/$real"
    ln -sfn "$real" "$to/lib/$soname"
    ln -sfn "$soname" "$to/lib/libpubsub.so"
    place 644 "$OUT/libpubsub.a" lib/libpubsub.a
    for header in "${headers[@]}"; do
        place 644 "include/$header" "include/$header"
    done
    place 755 "$OUT/pubsub" bin/pubsub
    local page
    for page in "$OUT"/man/*.1; do
        place 644 "$page" "share/man/man1/${page##*/}"
    done
    place_filled bindings/c/pubsub.pc.in lib/pkgconfig/pubsub.pc
    place_filled bindings/c/cmake/PubsubConfig.cmake $cmake/PubsubConfig.cmake
    place_filled bindings/c/cmake/PubsubConfigVersion.cmake $cmake/PubsubConfigVersion.cmake
    say "installed into $to"
    # Only where the loader looks; elsewhere programs need an rpath or LD_LIBRARY_PATH.
    if [ -z "$dest" ] && [ "$(id -u)" = 0 ] && have ldconfig && [ "$prefix" = /usr/local -o "$prefix" = /usr ]; then
        ldconfig
    fi
}

do_uninstall() {
    local file
    for file in "${installed[@]}"; do
        rm -f "$to/$file"
    done
    rm -f "$to"/share/man/man1/pubsub{,-*}.1
    # Directories stay: they may have been there before, and others use them.
    say "uninstalled from $to"
}

case $action in
    install) do_install ;;
    uninstall) do_uninstall ;;
    *) die "unknown action '$action'" ;;
esac
