//go:build !pubsub_static

package pubsub

// The default: the shared library that `make install` put somewhere, found by its pkg-config file.

// #cgo pkg-config: pubsub
import "C"
