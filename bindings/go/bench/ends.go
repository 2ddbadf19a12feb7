package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"libpubsub/go"
)

// end is what a process of either kind has.
type end interface {
	// send publishes so many messages, one by one or `batch` at a time.
	send(size, count, batch int) error
	// receive takes so many of that size, one by one or what is there.
	receive(size, count, batch int) error
	close()
}

// serve does what it is told, until it is told no more.
func serve(name, role, home string) error {
	open := openChannels
	if name == "socket" {
		open = openSocket
	}
	end, err := open(role, home)
	if err != nil {
		return err
	}
	defer end.close()
	fmt.Println("ready")
	if role == "answer" {
		go func() {
			for end.receive(64, 1, 1) == nil && end.send(64, 1, 1) == nil {
			}
		}()
		bufio.NewReader(os.Stdin).ReadByte() // until it is closed
		return nil
	}
	for {
		var size, count, batch int
		if _, err := fmt.Scanln(&size, &count, &batch); err != nil {
			return nil
		}
		switch role {
		case "send":
			err = end.send(size, count, batch)
		case "receive":
			err = end.receive(size, count, batch)
		case "ask":
			for ; count > 0 && err == nil; count-- {
				if err = end.send(size, 1, 1); err == nil {
					err = end.receive(size, 1, 1)
				}
			}
		}
		if err != nil {
			return err
		}
		fmt.Println("done")
	}
}

// channels publishes to one topic and receives from another.
type channels struct {
	out *pubsub.Publisher
	in  *pubsub.Channel
	got []pubsub.Message
}

func openChannels(role, _ string) (end, error) {
	in, out := "bench.back", "bench.there"
	if role == "receive" || role == "answer" {
		in, out = out, in
	}
	ch, err := pubsub.Open(in)
	if err != nil {
		return nil, err
	}
	// A full socket makes its writer wait, so this does too.
	p, err := pubsub.NewPublisher(out, pubsub.WithFullTimeout(10*time.Second))
	if err != nil {
		return nil, err
	}
	return &channels{p, ch, make([]pubsub.Message, 256)}, nil
}

func (c *channels) send(size, count, batch int) error {
	payload := make([]byte, size)
	if batch == 1 {
		for i := 0; i < count; i++ {
			if _, err := c.out.Publish(payload); err != nil {
				return err
			}
		}
		return nil
	}
	payloads := make([][]byte, batch)
	for i := range payloads {
		payloads[i] = payload
	}
	for count > 0 {
		if count < batch {
			payloads = payloads[:count]
		}
		n, err := c.out.PublishBatch(payloads)
		if err != nil {
			return err
		}
		count -= n
	}
	return nil
}

func (c *channels) receive(size, count, batch int) error {
	if batch == 1 {
		for ; count > 0; count-- {
			message, err := c.in.Receive(context.Background())
			if err == nil {
				err = check(message.Data, size)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	for count > 0 {
		n, err := c.in.ReceiveBatch(context.Background(), c.got)
		if err != nil {
			return err
		}
		for i := range c.got[:n] {
			if err := check(c.got[i].Data, size); err != nil {
				return err
			}
		}
		count -= n
	}
	return nil
}

func check(content []byte, size int) error {
	if len(content) != size {
		return fmt.Errorf("%d bytes came instead of %d", len(content), size)
	}
	return nil
}

func (c *channels) close() {
	c.out.Close()
	c.in.Close()
}

// socket is one connection.
type socket struct {
	conn   net.Conn
	reader *bufio.Reader
	writer *bufio.Writer
	frame  []byte
}

// waitingSocket accepts at first use.
type waitingSocket struct {
	listener net.Listener
	*socket
}

func openSocket(role, home string) (end, error) {
	path := home + "/socket"
	if role == "receive" || role == "answer" {
		listener, err := net.Listen("unix", path)
		if err != nil {
			return nil, err
		}
		return &waitingSocket{listener: listener}, nil
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	return newSocket(conn), nil
}

func newSocket(conn net.Conn) *socket {
	return &socket{conn: conn, reader: bufio.NewReaderSize(conn, 64<<10), writer: bufio.NewWriterSize(conn, 64<<10)}
}

func (w *waitingSocket) receive(size, count, batch int) error {
	if w.socket == nil {
		conn, err := w.listener.Accept()
		if err != nil {
			return err
		}
		w.socket = newSocket(conn)
	}
	return w.socket.receive(size, count, batch)
}

func (w *waitingSocket) close() {
	w.listener.Close()
	if w.socket != nil {
		w.socket.close()
	}
}

// A write for each message, or for each batch.
func (s *socket) send(size, count, batch int) error {
	if len(s.frame) != 4+size {
		s.frame = make([]byte, 4+size)
		binary.LittleEndian.PutUint32(s.frame, uint32(size))
	}
	if batch == 1 {
		for i := 0; i < count; i++ {
			if _, err := s.conn.Write(s.frame); err != nil {
				return err
			}
		}
		return nil
	}
	for i := 1; i <= count; i++ {
		if _, err := s.writer.Write(s.frame); err != nil {
			return err
		}
		if i%batch == 0 || i == count {
			if err := s.writer.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Each message in memory of its own, as a receiver of ours has it; one by one or not, the reader's buffer takes what is there.
func (s *socket) receive(size, count, _ int) error {
	var head [4]byte
	for ; count > 0; count-- {
		if _, err := io.ReadFull(s.reader, head[:]); err != nil {
			return err
		}
		length := binary.LittleEndian.Uint32(head[:])
		if length > 1<<30 {
			return errors.New("a frame of more than 1 GiB")
		}
		content := make([]byte, length)
		if _, err := io.ReadFull(s.reader, content); err != nil {
			return err
		}
		if err := check(content, size); err != nil {
			return err
		}
	}
	return nil
}

func (s *socket) close() { s.conn.Close() }
