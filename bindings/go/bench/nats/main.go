// Nats is NATS as the benchmark beside it uses it: started and told what to do by that. A module of its own, so that the
// package has no dependency. With Debian's packages nats-server and golang-github-nats-io-go-nats-dev, in this directory:
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go build -o /tmp/bench-nats .
//
// or with the packages of the network: go mod tidy && go build -o /tmp/bench-nats . Then, in the directory of the package:
// go run ./bench -nats /tmp/bench-nats
package main

import (
	"bufio"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats.go"
)

func main() {
	log.SetFlags(0)
	if err := serve(os.Getenv("PUBSUB_GO_BENCH_ROLE"), os.Getenv("PUBSUB_GO_BENCH_NATS")); err != nil {
		log.Fatal("nats: ", err)
	}
}

func serve(role, address string) error {
	var conn *nats.Conn
	var err error
	// The server may be about to start.
	for try := 0; try < 200; try++ {
		if conn, err = nats.Connect(address); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	in, out := "bench.back", "bench.there"
	if role == "receive" || role == "answer" {
		in, out = out, in
	}
	// What the receiver is to take, and whether it was that. Callbacks are what takes messages the fastest.
	type order struct {
		size, count int
		done        chan error
	}
	orders := make(chan order, 1)
	var current order
	subscription, err := conn.Subscribe(in, func(message *nats.Msg) {
		if role == "answer" {
			conn.Publish(out, message.Data)
			return
		}
		if current.count == 0 {
			current = <-orders
		}
		if len(message.Data) != current.size {
			current.done <- errors.New("a message of another size")
			return
		}
		if current.count--; current.count == 0 {
			current.done <- nil
		}
	})
	if err != nil {
		return err
	}
	// Nothing is to be dropped.
	if err := subscription.SetPendingLimits(-1, -1); err != nil {
		return err
	}
	if err := conn.Flush(); err != nil {
		return err
	}
	fmt.Println("ready")
	if role == "answer" {
		bufio.NewReader(os.Stdin).ReadByte() // until it is closed
		return nil
	}
	done := make(chan error, 1)
	for {
		var size, count, batch int
		if _, err := fmt.Scanln(&size, &count, &batch); err != nil {
			return nil
		}
		payload := make([]byte, size)
		switch role {
		case "receive":
			orders <- order{size, count, done}
			err = <-done
		case "send":
			// The client gathers what is published into writes by itself: one by one is the same as in batches.
			for ; count > 0 && err == nil; count-- {
				err = conn.Publish(out, payload)
			}
			if err == nil {
				err = conn.Flush()
			}
		case "ask":
			for ; count > 0 && err == nil; count-- {
				orders <- order{size, 1, done}
				if err = conn.Publish(out, payload); err == nil {
					err = <-done
				}
			}
		}
		if err != nil {
			return err
		}
		fmt.Println("done")
	}
}
