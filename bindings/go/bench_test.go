package pubsub

import "testing"

// The crossing and nothing else: nobody listens.
func BenchmarkPublishToNobody(b *testing.B) {
	p := publisher(b, "bench.nobody")
	data := make([]byte, 64)
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		if _, err := p.Publish(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPublishBatchToNobody(b *testing.B) {
	p := publisher(b, "bench.nobody")
	payloads := make([][]byte, 256)
	for i := range payloads {
		payloads[i] = make([]byte, 64)
	}
	b.ReportAllocs()
	for left := b.N; left > 0; left -= len(payloads) {
		if left < len(payloads) {
			payloads = payloads[:left]
		}
		if _, err := p.PublishBatch(payloads); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPublishWithHeadersToNobody(b *testing.B) {
	p := publisher(b, "bench.nobody")
	data := make([]byte, 64)
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		if _, err := p.Publish(data, String("unit", "celsius"), Int("sensor", 7)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseHeaders(b *testing.B) {
	m := Message{HeadersJSON: `{"unit": "celsius", "sensor": 7}`}
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		m.Headers()
	}
}
