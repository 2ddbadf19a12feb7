package pubsub

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestHeadersTravelWithTheirTypes(t *testing.T) {
	c := open(t, "headers")
	sent := Headers{
		String("text", "grün \"quoted\" \\ \n\x00\x1f end"), String("", "empty key"), String("empty", ""),
		Int("least", math.MinInt64), Int("most", math.MaxInt64), Float("whole", 21), Float("small", 1e-7),
		Float("large", 1e300), Float("infinite", math.Inf(1)), Float("negative", math.Inf(-1)), Float("nought", math.Copysign(0, -1)),
		Bool("yes", true), Bool("no", false), Null("null"), JSON("list", json.RawMessage(`[1, {"a": null}]`)),
		JSON("big", json.RawMessage("123456789012345678901234567890")),
	}
	publish(t, "headers", "", sent...)
	got := receiveHeaders(t, c)
	if !reflect.DeepEqual(got, sent) {
		t.Errorf("sent %#v\n got %#v", sent, got)
	}
	if value, ok := got.Int("most"); value != math.MaxInt64 || !ok {
		t.Error(value, ok)
	}
	if value, ok := got.Float("most"); value != math.MaxInt64 || !ok {
		t.Error(value, ok)
	}
	if _, ok := got.Int("whole"); ok {
		t.Error("a floating-point header reads as an integer")
	}
	if value, ok := got.Bool("yes"); !value || !ok {
		t.Error(value, ok)
	}
	if value, ok := got.String("missing"); value != "" || ok {
		t.Error(value, ok)
	}
	if value, ok := got.Get("null"); value != nil || !ok {
		t.Error(value, ok)
	}
}

func receiveHeaders(t *testing.T, c *Channel) Headers {
	m := receive(t, c)
	return m.Headers()
}

func TestEveryNumberTypeIsAHeader(t *testing.T) {
	c := open(t, "numbers")
	publish(t, "numbers", "", Header{"a", 1}, Header{"b", int8(-2)}, Header{"c", int16(3)}, Header{"d", int32(4)}, Header{"e", uint(5)},
		Header{"f", uint8(6)}, Header{"g", uint16(7)}, Header{"h", uint32(8)}, Header{"i", uint64(math.MaxUint64)},
		Header{"j", float32(0.5)}, Float("k", math.NaN()), Int("a", 9))
	got := receiveHeaders(t, c)
	if value, ok := got.Float("k"); !ok || !math.IsNaN(value) {
		t.Error(value, ok)
	}
	want := Headers{{"a", int64(9)}, {"b", int64(-2)}, {"c", int64(3)}, {"d", int64(4)}, {"e", int64(5)}, {"f", int64(6)},
		{"g", int64(7)}, {"h", int64(8)}, {"i", json.RawMessage("18446744073709551615")}, {"j", 0.5}}
	if !reflect.DeepEqual(got[:len(got)-1], want) {
		t.Errorf("%#v", got)
	}
}

func TestHeadersOfAllWaysToPublish(t *testing.T) {
	c := open(t, "ways")
	p := publisher(t, "ways")
	large := make([]byte, packPayload+1)
	if receipt, err := p.Publish(nil, Int("n", 1)); receipt.Delivered != 1 || err != nil {
		t.Fatal(receipt, err)
	}
	if n, err := p.PublishBatch([][]byte{nil, large, nil}, Int("n", 1)); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := p.PublishPacked([]byte("ab"), []uint32{1, 0, 1}, Int("n", 1)); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	for i := 0; i < 7; i++ {
		if value, ok := receiveHeaders(t, c).Int("n"); value != 1 || !ok {
			t.Error(i, value, ok)
		}
	}
}

func TestHeadersThatCannotTravel(t *testing.T) {
	c := open(t, "refused")
	p := publisher(t, "refused")
	for _, header := range []Header{
		{"struct", struct{}{}}, {"map", map[string]int{}}, {"bytes", []byte("1")}, {"utf", "\xff"}, {"\xff", 1},
		JSON("smuggled", json.RawMessage(`1, "other": 2`)), JSON("cut", json.RawMessage(`{"a": `)), JSON("none", nil),
		JSON("deep", json.RawMessage(strings.Repeat("[", 20000))),
	} {
		_, err := Publish("refused", nil, header)
		expect(t, err, ErrInvalidHeaders)
		_, err = p.Publish(nil, header)
		expect(t, err, ErrInvalidHeaders)
		_, err = p.PublishBatch([][]byte{nil}, header)
		expect(t, err, ErrInvalidHeaders)
		_, err = p.PublishPacked(nil, []uint32{0}, header)
		expect(t, err, ErrInvalidHeaders)
	}
	// The library's own refusal: nested deeper than others can read.
	if _, err := Publish("refused", nil, JSON("deep", json.RawMessage(strings.Repeat("[", 5000)+strings.Repeat("]", 5000)))); err != nil {
		expect(t, err, ErrInvalidHeaders)
	} else {
		receive(t, c)
	}
	if m, ok, err := c.TryReceive(); ok || err != nil {
		t.Error(m, err)
	}
}

func TestParseHeaders(t *testing.T) {
	headers, err := ParseHeaders(`{"a": 1, "b": NaN, "a": "last"}`)
	if value, ok := headers.String("a"); err != nil || len(headers) != 2 || value != "last" || !ok {
		t.Error(headers, err)
	}
	for _, text := range []string{"", "[]", "7", `{"a"`, "{}{}"} {
		_, err := ParseHeaders(text)
		expect(t, err, ErrInvalidHeaders)
	}
	if headers, err := ParseHeaders("{}"); len(headers) != 0 || err != nil {
		t.Error(headers, err)
	}
	for _, text := range []string{"[1]", "rubbish", "", "{}"} {
		if headers := (&Message{HeadersJSON: text}).Headers(); headers != nil {
			t.Error(headers)
		}
	}
}
