package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// conn is the part of an HTTP/1.1 client that measuring needs: one request at a time on one connection, answers with
// a length or in chunks. It costs a fraction of net/http's, which would drown what is measured. Not for concurrent use.
type conn struct {
	raw  net.Conn
	in   *bufio.Reader
	body []byte
}

func dial(ctx context.Context, address string) (*conn, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &conn{raw: raw, in: bufio.NewReaderSize(raw, 64<<10)}, nil
}

func (c *conn) close() { _ = c.raw.Close() }

// do sends a request and reads its answer. The body is valid until the next call.
func (c *conn) do(request []byte) (status int, body []byte, err error) {
	if _, err := c.raw.Write(request); err != nil {
		return 0, nil, err
	}
	status, length, err := c.head()
	if err != nil {
		return 0, nil, err
	}
	c.body = c.body[:0]
	if length >= 0 {
		return status, c.body, c.read(length)
	}
	for {
		line, err := c.line()
		if err != nil {
			return 0, nil, err
		}
		size, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return 0, nil, fmt.Errorf("chunk size: %w", err)
		}
		if err := c.read(int(size)); err != nil {
			return 0, nil, err
		}
		if _, err := c.line(); err != nil { // the end of the chunk, or of the empty trailer
			return 0, nil, err
		}
		if size == 0 {
			return status, c.body, nil
		}
	}
}

// head reads the status line and the headers; a length of -1 means chunks.
func (c *conn) head() (status, length int, err error) {
	line, err := c.line()
	if err != nil {
		return 0, 0, err
	}
	_, code, _ := bytes.Cut(line, []byte(" "))
	if status, err = strconv.Atoi(string(code[:min(3, len(code))])); err != nil {
		return 0, 0, fmt.Errorf("status line %q: %w", line, err)
	}
	length = -2
	for {
		line, err := c.line()
		if err != nil {
			return 0, 0, err
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, 0, fmt.Errorf("content-length: %w", err)
			}
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			length = -1
		}
	}
	if length == -2 {
		return 0, 0, errors.New("an answer without length")
	}
	return status, length, nil
}

func (c *conn) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	return bytes.TrimRight(line, "\r\n"), err
}

func (c *conn) read(n int) error {
	start := len(c.body)
	c.body = append(c.body, make([]byte, n)...)
	_, err := io.ReadFull(c.in, c.body[start:])
	return err
}
