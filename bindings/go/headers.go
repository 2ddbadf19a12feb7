package pubsub

// #include "shim.h"
import "C"

import (
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// Header is a name and a value that travel with a message.
type Header struct {
	Key string
	// Value is, when received, nil, a bool, an int64, a float64, a string, or a json.RawMessage for JSON that is none
	// of these (lists, objects, integers beyond 64 bits). To publish, any integer or float type will do. A RawMessage
	// is sent as it is.
	Value any
}

// String is a header whose value is text, which must be UTF-8.
func String(key, value string) Header { return Header{key, value} }

// Int is a header whose value is an integer.
func Int(key string, value int64) Header { return Header{key, value} }

// Float is a header whose value is a number; NaN and the infinities travel, too.
func Float(key string, value float64) Header { return Header{key, value} }

// Bool is a header whose value is true or false.
func Bool(key string, value bool) Header { return Header{key, value} }

// Null is a header without a value.
func Null(key string) Header { return Header{key, nil} }

// JSON is a header whose value is any JSON.
func JSON(key string, value json.RawMessage) Header { return Header{key, value} }

// Headers are those of a message, in the order in which they were set, each name once.
type Headers []Header

// Get is the value of a header, and whether there is one.
func (headers Headers) Get(key string) (any, bool) {
	for i := range headers {
		if headers[i].Key == key {
			return headers[i].Value, true
		}
	}
	return nil, false
}

// String is the value of a header, and whether there is one that is text.
func (headers Headers) String(key string) (string, bool) {
	value, _ := headers.Get(key)
	text, ok := value.(string)
	return text, ok
}

// Int is the value of a header, and whether there is one that is an integer of 64 bits.
func (headers Headers) Int(key string) (int64, bool) {
	value, _ := headers.Get(key)
	integer, ok := value.(int64)
	return integer, ok
}

// Float is the value of a header, and whether there is one that is a number; an integer is rounded if need be.
func (headers Headers) Float(key string) (float64, bool) {
	value, _ := headers.Get(key)
	switch value := value.(type) {
	case float64:
		return value, true
	case int64:
		return float64(value), true
	}
	return 0, false
}

// Bool is the value of a header, and whether there is one that is true or false.
func (headers Headers) Bool(key string) (value, ok bool) {
	found, _ := headers.Get(key)
	value, ok = found.(bool)
	return value, ok
}

// ParseHeaders reads headers from JSON text: an object, with NaN, Infinity and integers of any size as Python writes them.
// Of duplicate names the last counts. Anything else is ErrInvalidHeaders.
func ParseHeaders(text string) (Headers, error) {
	// The library's parser, so that all languages read the same.
	var parsed *C.ps_headers
	bytes := append([]byte(text), 0)
	result := C.psgo_headers_parse((*C.char)(unsafe.Pointer(&bytes[0])), C.size_t(len(text)), &parsed)
	if err := failure(result); err != nil {
		return nil, err
	}
	defer C.ps_headers_free(parsed)
	if result.value == 0 {
		return nil, nil
	}
	items := make([]C.psgo_header, int(result.value))
	C.psgo_headers_fill(parsed, &items[0], C.size_t(len(items)))
	headers := make(Headers, len(items))
	for i := range items {
		item := &items[i]
		headers[i] = Header{goString(item.key, item.key_len), headerValue(&item.value)}
	}
	return headers, nil
}

func headerValue(value *C.ps_header_value) any {
	switch value._type {
	case C.PS_HEADER_BOOL:
		return bool(value.boolean)
	case C.PS_HEADER_INT:
		return int64(value.integer)
	case C.PS_HEADER_DOUBLE:
		return float64(value.number)
	case C.PS_HEADER_STRING:
		return goString(value.string, value.string_len)
	case C.PS_HEADER_OTHER:
		return json.RawMessage(goString(value.string, value.string_len))
	}
	return nil
}

// goString copies text of any length, which C.GoStringN, with its int, does not.
func goString(text *C.char, size C.size_t) string {
	return string(unsafe.Slice((*byte)(unsafe.Pointer(text)), int(size)))
}

// appendHeaders writes headers as a JSON object, which the library reads in the same call that publishes; nothing for none.
func appendHeaders(text []byte, headers []Header) ([]byte, error) {
	if len(headers) == 0 {
		return text, nil
	}
	var err error
	for i, header := range headers {
		if i == 0 {
			text = append(text, '{')
		} else {
			text = append(text, ',')
		}
		if text, err = appendText(text, header.Key, header.Key); err != nil {
			return nil, err
		}
		text = append(text, ':')
		if text, err = appendValue(text, header); err != nil {
			return nil, err
		}
	}
	return append(text, '}'), nil
}

func appendValue(text []byte, header Header) ([]byte, error) {
	switch value := header.Value.(type) {
	case nil:
		return append(text, "null"...), nil
	case bool:
		return strconv.AppendBool(text, value), nil
	case string:
		return appendText(text, header.Key, value)
	case float64:
		return appendFloat(text, value), nil
	case float32:
		return appendFloat(text, float64(value)), nil
	case int:
		return strconv.AppendInt(text, int64(value), 10), nil
	case int64:
		return strconv.AppendInt(text, value, 10), nil
	case int32:
		return strconv.AppendInt(text, int64(value), 10), nil
	case int16:
		return strconv.AppendInt(text, int64(value), 10), nil
	case int8:
		return strconv.AppendInt(text, int64(value), 10), nil
	case uint:
		return strconv.AppendUint(text, uint64(value), 10), nil
	case uint64:
		return strconv.AppendUint(text, value, 10), nil
	case uint32:
		return strconv.AppendUint(text, uint64(value), 10), nil
	case uint16:
		return strconv.AppendUint(text, uint64(value), 10), nil
	case uint8:
		return strconv.AppendUint(text, uint64(value), 10), nil
	case json.RawMessage:
		// One whole value, or it could bring headers of its own.
		if !json.Valid(value) {
			return nil, errorf(ErrInvalidHeaders, "the header %q is no JSON value: %.100q", header.Key, []byte(value))
		}
		return append(text, value...), nil
	}
	return nil, errorf(ErrInvalidHeaders,
		"the header %q is a %T; it must be nil, a bool, an integer, a float, a string or a json.RawMessage",
		header.Key, header.Value)
}

// appendFloat writes a number that reads as a floating-point one, NaN and the infinities as Python writes them.
func appendFloat(text []byte, value float64) []byte {
	switch {
	case math.IsNaN(value):
		return append(text, "NaN"...)
	case math.IsInf(value, 1):
		return append(text, "Infinity"...)
	case math.IsInf(value, -1):
		return append(text, "-Infinity"...)
	}
	start := len(text)
	text = strconv.AppendFloat(text, value, 'g', -1, 64)
	for _, c := range text[start:] {
		if c == '.' || c == 'e' {
			return text
		}
	}
	return append(text, ".0"...)
}

func appendText(text []byte, key, value string) ([]byte, error) {
	if !utf8.ValidString(value) {
		return nil, errorf(ErrInvalidHeaders, "the header %q is not UTF-8: %.100q", key, value)
	}
	const digits = "0123456789abcdef"
	text = append(text, '"')
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '"' || c == '\\':
			text = append(text, '\\', c)
		case c < ' ':
			text = append(text, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			text = append(text, c)
		}
	}
	return append(text, '"'), nil
}
