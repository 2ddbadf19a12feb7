// Eventloop waits for several things at once: two channels, a clock and Ctrl-C. It ends when somebody publishes "stop" to
// loop.control.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"libpubsub/go"
)

func main() {
	log.SetFlags(0)
	readings := open("loop.sensor.+")
	defer readings.Close()
	control := open("loop.control")
	defer control.Close()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	log.Print("listening on ", readings.Topic(), " and ", control.Topic())

	// A stream that ends gives no more messages, for ever: `ok` tells.
	incoming, commands := readings.Messages(ctx), control.Messages(ctx)
	clock := time.NewTicker(time.Second)
	defer clock.Stop()
	count := 0
	for {
		select {
		case m, ok := <-incoming:
			if !ok {
				log.Print("over: ", ctx.Err(), readings.Err())
				return
			}
			count++
			fmt.Printf("%s: %s\n", m.Topic, m.Data)
		case m, ok := <-commands:
			if !ok || string(m.Data) == "stop" {
				fmt.Printf("stopped after %d readings\n", count)
				return
			}
			fmt.Printf("unknown command %q\n", m.Data)
		case <-clock.C:
			log.Printf("%d readings so far", count)
		}
	}
}

func open(pattern string) *pubsub.Channel {
	ch, err := pubsub.Open(pattern)
	if err != nil {
		log.Fatal(err)
	}
	return ch
}
