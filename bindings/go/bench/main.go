// Bench compares this package with what a Go program would otherwise do by hand on one machine: frames (a length, then the
// content) over a unix stream socket. Two processes, in one run, with the same contents; it prints both and their ratio.
//
//	go run ./bench [SECONDS]
//
// The socket has one reader and keeps nothing: it is the floor, not a peer with the same promises.
package main

import (
	"bufio"
	"fmt"
	"log"
	"os"
	"os/exec"
	"strconv"
	"time"

	"libpubsub/go"
)

// transport is one of the two.
type transport interface {
	// send publishes messages of that size until told otherwise by their count, one by one or `batch` at a time.
	send(size, count, batch int) error
	// receive takes that many.
	receive(count int) error
	close()
}

var transports = []string{"socket", "pubsub"}

func main() {
	log.SetFlags(0)
	home, child := os.Getenv("PUBSUB_HOME"), os.Getenv("PUBSUB_GO_BENCH")
	if child != "" {
		if err := serve(child, home); err != nil {
			log.Fatal(child, ": ", err)
		}
		return
	}
	share := 1.0
	if len(os.Args) > 1 {
		var err error
		if share, err = strconv.ParseFloat(os.Args[1], 64); err != nil || !(share > 0) {
			log.Fatalf("SECONDS is %q; it must be a number above 0", os.Args[1])
		}
	}
	parent := "/dev/shm"
	if _, err := os.Stat(parent); err != nil {
		parent = ""
	}
	home, err := os.MkdirTemp(parent, "pubsub-go-bench-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(home)
	os.Setenv("PUBSUB_HOME", home)
	fmt.Printf("libpubsub %s against frames over a unix socket; two processes; about %g s each\n", pubsub.Version(), share)
	fmt.Printf("%-34s %14s %14s %8s\n", "", "socket", "pubsub", "ratio")
	for _, test := range tests {
		var figures [2]float64
		for i, name := range transports {
			figure, err := measure(name, home, test, share)
			if err != nil {
				os.RemoveAll(home)
				log.Fatal(name, ", ", test.name, ": ", err)
			}
			figures[i] = figure
		}
		if test.roundTrip {
			fmt.Printf("%-34s %12.1fµs %12.1fµs %7.3gx\n", test.name, figures[0], figures[1], figures[0]/figures[1])
			continue
		}
		fmt.Printf("%-34s %12.0f/s %12.0f/s %7.3gx\n", test.name, figures[0], figures[1], figures[1]/figures[0])
	}
}

type test struct {
	name        string
	size, batch int
	roundTrip   bool
}

var tests = []test{
	{"64 B, one by one", 64, 1, false},
	{"64 B, 256 at a time", 64, 256, false},
	{"64 KiB, one by one", 64 << 10, 1, false},
	{"1 MiB, one by one", 1 << 20, 1, false},
	{"64 B, half a round trip", 64, 1, true},
}

// measure answers messages per second, published by another process and all received here, or the microseconds of half a
// round trip.
func measure(name, home string, test test, seconds float64) (float64, error) {
	child := exec.Command("/proc/self/exe")
	mode := "publish"
	if test.roundTrip {
		mode = "echo"
	}
	child.Env = append(os.Environ(), "PUBSUB_GO_BENCH="+name, "PUBSUB_GO_BENCH_MODE="+mode)
	child.Stderr = os.Stderr
	orders, err := child.StdinPipe()
	if err != nil {
		return 0, err
	}
	answers, err := child.StdoutPipe()
	if err != nil {
		return 0, err
	}
	end, err := listen(name, home)
	if err != nil {
		return 0, err
	}
	defer end.close()
	if err := child.Start(); err != nil {
		return 0, err
	}
	defer func() {
		orders.Close()
		child.Wait()
	}()
	if line, err := bufio.NewReader(answers).ReadString('\n'); err != nil {
		return 0, fmt.Errorf("the other process ended: %q %w", line, err)
	}
	// As many as take the time, found by doubling: the last round counts.
	for count := 16; ; {
		start := time.Now()
		if test.roundTrip {
			for i := 0; i < count; i++ {
				if err := end.send(test.size, 1, 1); err != nil {
					return 0, err
				}
				if err := end.receive(1); err != nil {
					return 0, err
				}
			}
		} else {
			fmt.Fprintln(orders, test.size, count, test.batch)
			if err := end.receive(count); err != nil {
				return 0, err
			}
		}
		took := time.Since(start).Seconds()
		switch {
		case took < seconds/4:
			count *= 4
		case took < seconds*0.75:
			count = int(float64(count) * seconds / took)
		case test.roundTrip:
			return took * 1e6 / float64(2*count), nil
		default:
			return float64(count) / took, nil
		}
	}
}

// serve is the other process: publishes what is ordered, or echoes.
func serve(name, home string) error {
	end, err := dial(name, home)
	if err != nil {
		return err
	}
	defer end.close()
	fmt.Println("ready")
	if os.Getenv("PUBSUB_GO_BENCH_MODE") == "echo" {
		go func() {
			for end.receive(1) == nil && end.send(64, 1, 1) == nil {
			}
		}()
		bufio.NewReader(os.Stdin).ReadByte() // until the parent has enough
		return nil
	}
	for {
		var size, count, batch int
		if _, err := fmt.Scanln(&size, &count, &batch); err != nil {
			return nil
		}
		if err := end.send(size, count, batch); err != nil {
			return err
		}
	}
}
