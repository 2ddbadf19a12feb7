package pubsub

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// child starts this test program as another process that does one thing, and waits until it has begun. The answer kills it.
func child(t *testing.T, what, home string) func() {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PUBSUB_GO_TEST_CHILD="+what, "PUBSUB_HOME="+home)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	kill := func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	t.Cleanup(kill)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(line, err)
	}
	return kill
}

func runChild(what string) {
	switch what {
	case "subscriber":
		c, err := Open("child")
		fmt.Println("open", err)
		c.Receive(context.Background())
	case "replier":
		c, err := Open("child.question")
		fmt.Println("open", err)
		for m := range c.Messages(context.Background()) {
			m.Reply(append([]byte("from the child: "), m.Data...))
		}
	case "feed":
		p, err := NewPublisher("topics.fed")
		fmt.Println("open", err)
		for n := 0; err == nil; n++ {
			_, err = p.Publish([]byte(fmt.Sprint(os.Getpid(), " ", n)))
			if n%8 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	case "echo":
		c, err := Open("echo.question")
		fmt.Println("open", err)
		for m := range c.Messages(context.Background()) {
			Publish("echo.answer", m.Data, m.Headers()...)
		}
	}
}
