//go:build pubsub_static

package pubsub

// A program that carries the library inside. The header and the archive are those of the repository around this
// directory (a release build), else of where the compiler looks by itself; CGO_CFLAGS and CGO_LDFLAGS come first and can
// name others. No pkg-config: it would bring the shared library. What follows the archive is what Rust's standard library
// needs.

// #cgo CFLAGS: -I${SRCDIR}/../../include
// #cgo LDFLAGS: -L${SRCDIR}/../../target/release -l:libpubsub.a -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc
import "C"
