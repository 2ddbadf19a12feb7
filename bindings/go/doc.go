// Package pubsub is publish and subscribe for the programs of one machine, without a server: libpubsub for Go.
//
// A program that wants messages opens a channel on a topic or pattern, and receives:
//
//	ch, err := pubsub.Open("news.+")
//	…
//	defer ch.Close()
//	for m := range ch.Messages(ctx) {
//		fmt.Println(m.Topic, string(m.Data))
//	}
//
// Another publishes:
//
//	receipt, err := pubsub.Publish("news.sport", []byte("3:1"), pubsub.String("ground", "home"))
//
// # Request and reply
//
//	reply, err := pubsub.Request(ctx, "math.double", []byte("21"))
//
// and whoever receives it answers with its Reply. formix-pubsub programs can be either side.
//
// # Managed topics
//
// A topic that CreateTopic has made keeps a history. A channel begins with its last messages,
//
//	ch, err := pubsub.Open("news.+", pubsub.WithReplayLast(10))
//
// or goes on where another one stopped: WithResume(m.Epoch, m.Offset).
//
// # Waiting
//
// A goroutine that waits for a message parks on the runtime's poller, as one that waits for a network connection does; it
// takes no OS thread. Contexts and Close end waits. Calls into the library are short; only a publisher that was opened
// WithFullTimeout waits inside one.
//
// # Errors
//
// Errors say what failed, on which topic or path, and what to do; errors.Is tells kinds apart (ErrQueueFull). Contexts'
// errors are returned as they are.
//
// # Linking
//
// The package needs cgo and libpubsub. By default it asks pkg-config for `pubsub`, which `make install` installs; the
// build tag pubsub_static links the static library into the program, that of the repository around this directory when there
// is one. The README says more.
package pubsub
