#!/usr/bin/env bash
# Builds the release library (without the command's dependencies) and the command, and puts both into build/release.
source "$(dirname "$0")/lib.sh"
need_cargo

target=$(target_dir)
cargo build --release --lib
# In a target directory of its own: its features would overwrite the library just built.
cargo build --release --features serve --bin pubsub --target-dir "$target/command"

mkdir -p "$OUT"
for file in "$target/release/libpubsub.so" "$target/release/libpubsub.a" "$target/command/release/pubsub"; do
    # A new file and a rename: programs that have the old library mapped keep it whole.
    cp "$file" "$OUT/.new" && mv "$OUT/.new" "$OUT/${file##*/}"
done
rm -rf "$OUT/man"
"$OUT/pubsub" --quiet man "$OUT/man"
say "built: build/release/libpubsub.so libpubsub.a pubsub"
