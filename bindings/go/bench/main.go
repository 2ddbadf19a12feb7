// Bench compares this package with what a Go program would otherwise use on one machine, in one run, with the same contents:
//
//	go run ./bench [-nats PROGRAM] [SECONDS]
//
// The socket is the least that two Go programs can do: frames (a length, then the content) over a unix stream socket,
// written by hand. It has one reader, no topics, and keeps nothing: a floor, not a peer with the same promises. NATS is a
// peer, with its server (nats-server) as a third process; PROGRAM is what ./bench/nats makes.
//
// One process sends and another receives all of it; this one gives the orders and looks at the clock.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"os"
	"os/exec"
	"sort"
	"strconv"
	"strings"
	"time"

	"libpubsub/go"
)

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

// Each figure is the median of so many, taken in turns.
const rounds = 3

func main() {
	log.SetFlags(0)
	if name := os.Getenv("PUBSUB_GO_BENCH"); name != "" {
		if err := serve(name, os.Getenv("PUBSUB_GO_BENCH_ROLE"), os.Getenv("PUBSUB_HOME")); err != nil {
			log.Fatal(name, ": ", err)
		}
		return
	}
	nats := flag.String("nats", "", "the program that ./bench/nats makes")
	flag.Parse()
	seconds := 1.0
	if flag.NArg() > 0 {
		var err error
		if seconds, err = strconv.ParseFloat(flag.Arg(0), 64); err != nil || !(seconds > 0) {
			log.Fatalf("SECONDS is %q; it must be a number above 0", flag.Arg(0))
		}
	}
	if err := run(*nats, seconds); err != nil {
		log.Fatal(err)
	}
}

// peer is one of those that are compared: a program that serves by itself.
type peer struct {
	name, program string
	env           []string
}

func run(nats string, seconds float64) error {
	parent := "/dev/shm"
	if _, err := os.Stat(parent); err != nil {
		parent = ""
	}
	home, err := os.MkdirTemp(parent, "pubsub-go-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	home = "PUBSUB_HOME=" + home
	peers := []peer{
		{"pubsub", "/proc/self/exe", []string{home, "PUBSUB_GO_BENCH=pubsub"}},
		{"socket", "/proc/self/exe", []string{home, "PUBSUB_GO_BENCH=socket"}},
	}
	if nats != "" {
		address, stop, err := startServer()
		if err != nil {
			return err
		}
		defer stop()
		peers = append(peers, peer{"nats", nats, []string{"PUBSUB_GO_BENCH_NATS=" + address}})
	}
	fmt.Printf("libpubsub %s; two processes; medians of %d, each of about %g s\n%-24s", pubsub.Version(), rounds, seconds, "")
	for i, p := range peers {
		if fmt.Printf(" %12s", p.name); i > 0 {
			fmt.Printf(" %7s", "ratio")
		}
	}
	fmt.Println()
	for _, test := range tests {
		figures := make([][]float64, len(peers))
		for round := 0; round < rounds; round++ {
			for i, p := range peers {
				figure, err := measure(p, test, seconds)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", p.name, test.name, err)
				}
				figures[i] = append(figures[i], figure)
			}
		}
		fmt.Printf("%-24s", test.name)
		ours := median(figures[0])
		for i := range peers {
			figure, ratio := median(figures[i]), ours/median(figures[i])
			if test.roundTrip {
				fmt.Printf(" %10.1fµs", figure)
				ratio = 1 / ratio
			} else {
				fmt.Printf(" %10.0f/s", figure)
			}
			if i > 0 {
				fmt.Printf(" %6.3gx", ratio)
			}
		}
		fmt.Println()
	}
	return nil
}

func median(figures []float64) float64 {
	sort.Float64s(figures)
	return figures[len(figures)/2]
}

// startServer starts a NATS server of its own.
func startServer() (address string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	address = listener.Addr().String()
	listener.Close()
	_, port, _ := net.SplitHostPort(address)
	server := exec.Command("nats-server", "-a", "127.0.0.1", "-p", port)
	if err := server.Start(); err != nil {
		return "", nil, err
	}
	return "nats://" + address, func() {
		server.Process.Kill()
		server.Wait()
	}, nil
}

// process is one that serves.
type process struct {
	orders  io.WriteCloser
	answers *bufio.Reader
	command *exec.Cmd
}

func start(p peer, role string) (*process, error) {
	command := exec.Command(p.program)
	command.Env = append(append(os.Environ(), p.env...), "PUBSUB_GO_BENCH_ROLE="+role)
	command.Stderr = os.Stderr
	orders, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	answers, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	started := &process{orders, bufio.NewReader(answers), command}
	if err := started.await("ready"); err != nil {
		started.end()
		return nil, err
	}
	return started, nil
}

func (p *process) await(word string) error {
	if line, err := p.answers.ReadString('\n'); err != nil || strings.TrimSpace(line) != word {
		return fmt.Errorf("a process said %q instead of %q (%v)", line, word, err)
	}
	return nil
}

func (p *process) end() {
	p.orders.Close()
	p.command.Wait()
}

// measure answers messages per second, published by one process and all received by the other, or the microseconds of half
// a round trip.
func measure(p peer, test test, seconds float64) (float64, error) {
	roles := [2]string{"receive", "send"}
	if test.roundTrip {
		roles = [2]string{"answer", "ask"}
	}
	// Who is to be there first, and ends last.
	first, err := start(p, roles[0])
	if err != nil {
		return 0, err
	}
	defer first.end()
	second, err := start(p, roles[1])
	if err != nil {
		return 0, err
	}
	defer second.end()
	working := []*process{second}
	if !test.roundTrip {
		working = append(working, first)
	}
	// As many as take the time, found by trying: the last round counts.
	for count := 16; ; {
		began := time.Now()
		for i := range working {
			if _, err := fmt.Fprintln(working[len(working)-1-i].orders, test.size, count, test.batch); err != nil {
				return 0, err
			}
		}
		for _, process := range working {
			if err := process.await("done"); err != nil {
				return 0, err
			}
		}
		took := time.Since(began).Seconds()
		switch {
		case took < seconds/4:
			count *= 4
		case took < seconds*0.75:
			count = int(math.Ceil(float64(count) * seconds / took))
		case test.roundTrip:
			return took * 1e6 / float64(2*count), nil
		default:
			return float64(count) / took, nil
		}
	}
}
