package pubsub

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"fmt"
	"io/fs"
	"strings"
	"unsafe"
)

// ErrorCode is the kind of an error, for errors.Is:
//
//	if errors.Is(err, pubsub.ErrQueueFull) { … }
//
// ErrClosed, ErrNotFound, ErrExists and ErrPermission are also fs.ErrClosed, fs.ErrNotExist, fs.ErrExist and
// fs.ErrPermission to errors.Is.
type ErrorCode int

// The kinds of errors, the library's own numbers.
const (
	// ErrInvalidArgument: an argument is out of range, or not UTF-8.
	ErrInvalidArgument ErrorCode = C.PS_ERR_INVALID_ARGUMENT
	// ErrInvalidTopic: a topic or pattern holds what topics cannot hold.
	ErrInvalidTopic ErrorCode = C.PS_ERR_INVALID_TOPIC
	// ErrInvalidHeaders: a header's value is of no type that can travel.
	ErrInvalidHeaders ErrorCode = C.PS_ERR_INVALID_HEADERS
	// ErrTooLarge: a message is larger than 4 GiB - 1, or than memory.
	ErrTooLarge ErrorCode = C.PS_ERR_TOO_LARGE
	// ErrClosed: the channel or publisher is closed.
	ErrClosed ErrorCode = C.PS_ERR_CLOSED
	// ErrNotFound: there is no such thing, a topic is not managed, or nobody listens for a request.
	ErrNotFound ErrorCode = C.PS_ERR_NOT_FOUND
	// ErrExists: it is there already.
	ErrExists ErrorCode = C.PS_ERR_EXISTS
	// ErrQueueFull: every matching channel is full and rejects.
	ErrQueueFull ErrorCode = C.PS_ERR_QUEUE_FULL
	// ErrStoreFull: the file system that holds the store is full.
	ErrStoreFull ErrorCode = C.PS_ERR_STORE_FULL
	// ErrPermission: the store, or something in it, may not be used by this user.
	ErrPermission ErrorCode = C.PS_ERR_PERMISSION
	// ErrCorrupt: something in the store is not what it should be.
	ErrCorrupt ErrorCode = C.PS_ERR_CORRUPT
	// ErrInterrupted: a wait ended because of a signal.
	ErrInterrupted ErrorCode = C.PS_ERR_INTERRUPTED
	// ErrUnsupported: not available on this system, or in this version.
	ErrUnsupported ErrorCode = C.PS_ERR_UNSUPPORTED
	// ErrIO: the operating system refused.
	ErrIO ErrorCode = C.PS_ERR_IO
	// ErrInternal: a defect of the library.
	ErrInternal ErrorCode = C.PS_ERR_INTERNAL
)

// Error is the code's name, such as "PS_ERR_QUEUE_FULL".
func (code ErrorCode) Error() string {
	return C.GoString(C.ps_error_name(C.int(code)))
}

// Is makes the errors that Go has a name for known by it.
func (code ErrorCode) Is(target error) bool {
	switch target {
	case fs.ErrClosed:
		return code == ErrClosed
	case fs.ErrNotExist:
		return code == ErrNotFound
	case fs.ErrExist:
		return code == ErrExists
	case fs.ErrPermission:
		return code == ErrPermission
	}
	return false
}

// Error is what this package's functions return, but for a context's error, which they return as it is. Its code is what
// errors.Is finds.
type Error struct {
	// Code is the kind.
	Code ErrorCode
	// Text says what failed, on which topic, path or value, and what to do.
	Text string
}

// Error is the text.
func (e *Error) Error() string {
	if e.Text == "" {
		return "pubsub: " + e.Code.Error()
	}
	return "pubsub: " + e.Text
}

// Unwrap is the code.
func (e *Error) Unwrap() error {
	return e.Code
}

func errorf(code ErrorCode, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// failure is the error that a result holds, or nil. It frees the result's text.
func failure(result C.psgo_result) error {
	if result.value >= 0 {
		return nil
	}
	return failed(ErrorCode(result.value), result.text)
}

// failed is the library's error. It frees its text.
func failed(code ErrorCode, text *C.char) error {
	defer C.free(unsafe.Pointer(text))
	return &Error{Code: code, Text: C.GoString(text)}
}

// whole is an error for a string that holds a NUL: C would see it cut short.
func whole(code ErrorCode, what, text string) error {
	if at := strings.IndexByte(text, 0); at >= 0 {
		return errorf(code, "the %s %q holds a NUL at %d", what, text, at)
	}
	return nil
}

// terminated is a string as C reads it.
func terminated(code ErrorCode, what, text string) ([]byte, error) {
	if err := whole(code, what, text); err != nil {
		return nil, err
	}
	return append(append(make([]byte, 0, len(text)+1), text...), 0), nil
}

// optional is like terminated, with nil for "": C's NULL, the default.
func optional(what, text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	return terminated(ErrInvalidArgument, what, text)
}

// chars is what C calls terminated text, or NULL.
func chars(text []byte) *C.char {
	if len(text) == 0 {
		return nil
	}
	return (*C.char)(unsafe.Pointer(&text[0]))
}
