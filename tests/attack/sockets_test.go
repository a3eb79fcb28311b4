package attack_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// socket is a WebSocket whose frames the test writes byte by byte (RFC 6455, section 5.2).
type socket struct {
	conn net.Conn
	in   *bufio.Reader
}

// openSocket makes the handshake at a path.
func openSocket(t *testing.T, s *site, path string, headers ...string) *socket {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.gateway.API, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(60 * time.Second)) // fails only on a closed connection
	lines := append([]string{
		"GET " + path + " HTTP/1.1", "Host: localhost", "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	}, headers...)
	if _, err := io.WriteString(c, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	w := &socket{c, bufio.NewReader(c)}
	got, err := http.ReadResponse(w.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = got.Body.Close()
	if got.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%s: got %s; want a WebSocket", path, got.Status)
	}
	if extensions := got.Header.Get("Sec-WebSocket-Extensions"); extensions != "" {
		t.Errorf("%s: the extensions %q are agreed to; a kilobyte could become a gigabyte", path, extensions)
	}
	return w
}

const (
	final = 0x80
	rsv1  = 0x40
	text  = 0x1
	mask  = 0x80
)

// frame is one with a mask of zeroes, so that its payload stands as it is.
func frame(first byte, payload string) string {
	head := []byte{first, mask | byte(len(payload))}
	switch n := len(payload); {
	case n > 0xffff:
		head = binary.BigEndian.AppendUint64([]byte{first, mask | 127}, uint64(n))
	case n > 125:
		head = binary.BigEndian.AppendUint16([]byte{first, mask | 126}, uint16(n))
	}
	return string(head) + "\x00\x00\x00\x00" + payload
}

// closes reads to the end of the connection, and gives the close code that came; 0 for none. A frame that was answered before,
// such as a pong, is skipped.
func (w *socket) closes() (code uint16, err error) {
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(w.in, head); err != nil {
			return code, err
		}
		n := uint64(head[1] &^ mask)
		switch n {
		case 126:
			var long uint16
			err = binary.Read(w.in, binary.BigEndian, &long)
			n = uint64(long)
		case 127:
			err = binary.Read(w.in, binary.BigEndian, &n)
		}
		payload := make([]byte, n)
		if err == nil {
			_, err = io.ReadFull(w.in, payload)
		}
		if err != nil {
			return code, err
		}
		if head[0] == final|0x8 && n >= 2 {
			code = binary.BigEndian.Uint16(payload)
		}
	}
}

// TestFramesThatBreakTheProtocolCloseTheSocket is G2 and G3, at both APIs: what RFC 6455 forbids ends the socket with the code for
// it, and no other socket.
func TestFramesThatBreakTheProtocolCloseTheSocket(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	auth := "Authorization: Bearer " + s.issuer.token(alice, nil)
	good := openSocket(t, s, "/v1/watch?key=k", auth)
	big := strings.Repeat("x", 8<<20)
	var all sync.WaitGroup
	const protocolError, invalid, tooBig = 1002, 1007, 1009
	for name, row := range map[string]struct {
		sent  string
		codes []uint16
	}{
		"no mask":                          {"\x81\x02{}", []uint16{protocolError, invalid, 0}},
		"a reserved bit":                   {frame(final|0x10|text, "{}"), []uint16{protocolError}},
		"compressed without an agreement":  {frame(final|rsv1|text, "\xaa\x56\x0a"), []uint16{protocolError}},
		"a reserved opcode":                {frame(final|0x3, "{}"), []uint16{protocolError}},
		"a reserved control opcode":        {frame(final|0xb, ""), []uint16{protocolError}},
		"a ping in fragments":              {frame(0x9, "a"), []uint16{protocolError}},
		"a ping of 126 bytes":              {frame(final|0x9, strings.Repeat("p", 126)), []uint16{protocolError}},
		"a continuation of nothing":        {frame(final, "{}"), []uint16{protocolError}},
		"a message within a message":       {frame(text, "{") + frame(final|text, "{}"), []uint16{protocolError}},
		"a length with its top bit set":    {"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", []uint16{protocolError, invalid, tooBig, 0}},
		"a close of one byte":              {frame(final|0x8, "\x03"), []uint16{protocolError}},
		"a close code that is not for use": {frame(final|0x8, "\x03\xed"), []uint16{protocolError}},
		"no UTF-8":                         {frame(final|text, "{\"op\":\"\xff\"}"), []uint16{invalid}},
		"no UTF-8, over two fragments":     {frame(text, "{\"op\":\"\xc3") + frame(final, "(\"}"), []uint16{invalid}},
		"half a surrogate":                 {frame(final|text, "{\"op\":\"\xed\xa0\x80\"}"), []uint16{invalid}},
		"too big in one frame":             {frame(final|text, big), []uint16{tooBig}},
		"too big in fragments":             {frame(text, "{") + strings.Repeat(frame(0, big[:32<<10]), 256), []uint16{tooBig}},
		"fragments without end":            {frame(text, "{") + strings.Repeat(frame(0, ""), 100_000) + frame(final|0x8, "\x03\xe8"), []uint16{1000}},
	} {
		for _, path := range []string{"/v1/watch", "/v3/watch"} {
			w := openSocket(t, s, path, auth, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
			all.Go(func() {
				_, _ = io.WriteString(w.conn, row.sent) // it may be closed before the end
				code, err := w.closes()
				switch {
				case isReset(err):
				case !errors.Is(err, io.EOF):
					t.Errorf("%s: %s: %v; want that the connection is closed", path, name, err)
				case !slices.Contains(row.codes, code):
					t.Errorf("%s: %s: closed with %d; want %v", path, name, code, row.codes)
				}
			})
		}
	}
	all.Wait()
	// The other socket goes on; a ping between its fragments is answered.
	_, _ = io.WriteString(good.conn, frame(text, `{"op":`)+frame(final|0x9, "between")+frame(final, `"ping"}`))
	var told []byte
	for !strings.Contains(string(told), `{"type":"pong"}`) {
		b, err := good.in.ReadByte()
		if err != nil {
			t.Fatalf("the other socket: got %q, %v; want it to be answered", told, err)
		}
		told = append(told, b)
	}
	if !strings.Contains(string(told), "\x8a\x07between") {
		t.Errorf("the other socket: got %q; want a pong to the ping", told)
	}
	_, _ = io.WriteString(good.conn, frame(final|0x8, "\x03\xe8"))
	if code, err := good.closes(); code != 1000 {
		t.Errorf("the other socket: closed with %d, %v; want 1000", code, err)
	}
}

// isReset tells whether the connection was closed with bytes of ours unread: what was sent before may be lost then.
func isReset(err error) bool {
	return err != nil && strings.Contains(err.Error(), "connection reset")
}
