package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// socket is the part of a WebSocket client that measuring needs: it sends one small message and reads frames without
// decoding them. It costs a fraction of a library's, which would drown what is measured.
type socket struct {
	raw  net.Conn
	in   *bufio.Reader
	text []byte
}

// frame kinds of RFC 6455.
const (
	continuation = 0x0
	text         = 0x1
	closing      = 0x8
	ping         = 0x9
	pong         = 0xA
	final        = 0x80
	masked       = 0x80
)

// dial connects from a loopback address of its own, so that many sockets do not run out of ports, and upgrades.
func dial(ctx context.Context, n int, host, path, subprotocol string) (*socket, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(fmt.Sprint("127.0.0.", 2+n/4000))}}
	raw, err := dialer.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	s := &socket{raw: raw, in: bufio.NewReaderSize(raw, 2<<10)}
	var offer string
	if subprotocol != "" {
		offer = "Sec-WebSocket-Protocol: " + subprotocol + "\r\n"
	}
	_, err = fmt.Fprintf(raw, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", path, host, offer)
	if err != nil {
		return nil, err
	}
	return s, s.upgraded()
}

// upgraded reads the answer to the handshake.
func (s *socket) upgraded() error {
	line, err := s.in.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.Contains(line, " 101 ") {
		return fmt.Errorf("got %q, want %d", strings.TrimSpace(line), http.StatusSwitchingProtocols)
	}
	for {
		line, err := s.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			return nil
		}
	}
}

// send sends one frame of less than 64 KiB, masked by zeros, which changes nothing.
func (s *socket) send(kind byte, payload []byte) error {
	size := uint16(len(payload)) //nolint:gosec // see above
	frame := []byte{final | kind, masked | byte(min(size, 126))}
	if size >= 126 {
		frame = binary.BigEndian.AppendUint16(frame, size)
	}
	frame = append(frame, 0, 0, 0, 0)
	_, err := s.raw.Write(append(frame, payload...))
	return err
}

// message reads the next text message; it is valid until the next call. Pings are answered.
func (s *socket) message() ([]byte, error) {
	s.text = s.text[:0]
	for {
		kind, payload, err := s.frame()
		switch {
		case err != nil:
			return nil, err
		case kind&0xF == ping:
			if err := s.send(pong, payload); err != nil {
				return nil, err
			}
			s.text = s.text[:0]
		case kind&0xF == closing:
			return nil, fmt.Errorf("the socket was closed: %q", payload)
		case kind&0xF != text && kind&0xF != continuation:
			s.text = s.text[:0]
		case kind&final != 0:
			return s.text, nil
		}
	}
}

// frame appends a frame's payload to what is there.
func (s *socket) frame() (kind byte, payload []byte, err error) {
	var head [10]byte
	if _, err := io.ReadFull(s.in, head[:2]); err != nil {
		return 0, nil, err
	}
	length := int(head[1] & 0x7F)
	switch length {
	case 126:
		_, err = io.ReadFull(s.in, head[2:4])
		length = int(binary.BigEndian.Uint16(head[2:4]))
	case 127:
		_, err = io.ReadFull(s.in, head[2:10])
		length = int(binary.BigEndian.Uint64(head[2:10])) //nolint:gosec // from a server of ours
	}
	if err != nil {
		return 0, nil, err
	}
	start := len(s.text)
	s.text = append(s.text, make([]byte, length)...)
	_, err = io.ReadFull(s.in, s.text[start:])
	return head[0], s.text[start:], err
}
