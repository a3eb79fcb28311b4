// Package frames speaks HTTP/2 frame by frame, as a hostile peer does.
package frames

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Peer is one connection over TLS whose frames the test chooses itself. It is not safe for concurrent use, but for reading
// beside writing.
type Peer struct {
	*http2.Framer

	Conn    net.Conn
	host    string
	encoder *hpack.Encoder
	block   bytes.Buffer
	// next is the id of the next stream.
	next uint32
}

// Dial connects to a URL's host and sends the preface with these settings. The certificate is not looked at.
func Dial(ctx context.Context, url string, settings ...http2.Setting) (*Peer, error) {
	host := strings.TrimPrefix(url, "https://")
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}} //nolint:gosec // it is the test's own, of this machine
	c, err := dialer.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", url, err)
	}
	p := &Peer{Framer: http2.NewFramer(c, c), Conn: c, host: host, next: 1}
	p.AllowIllegalWrites = true
	p.encoder = hpack.NewEncoder(&p.block)
	if _, err = io.WriteString(c, http2.ClientPreface); err == nil {
		err = p.WriteSettings(settings...)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("dial %s: %w", url, err), c.Close())
	}
	return p, nil
}

// Headers encodes those of a request; more are "name: value".
func (p *Peer) Headers(method, path string, more ...string) []byte {
	return p.Encode(append([]string{":method: " + method, ":scheme: https", ":authority: " + p.host, ":path: " + path}, more...))
}

// Encode encodes headers ("name: value") as they are.
func (p *Peer) Encode(lines []string) []byte {
	p.block.Reset()
	for _, line := range lines {
		name, value, _ := strings.Cut(line[1:], ": ")
		_ = p.encoder.WriteField(hpack.HeaderField{Name: line[:1] + name, Value: value}) // a buffer takes everything
	}
	return bytes.Clone(p.block.Bytes())
}

// Literal encodes one header that is not to be remembered.
func (p *Peer) Literal(name, value string) []byte {
	p.block.Reset()
	_ = p.encoder.WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: true}) // as above
	return bytes.Clone(p.block.Bytes())
}

// Open begins a stream with a request, whose body follows unless ends, and gives its id.
func (p *Peer) Open(ends bool, method, path string, more ...string) (uint32, error) {
	id := p.next
	p.next += 2
	return id, p.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: p.Headers(method, path, more...), EndStream: ends, EndHeaders: true,
	})
}

// OpenWith begins a stream with encoded headers and no body. Unless whole, CONTINUATION goes on with them.
func (p *Peer) OpenWith(block []byte, whole bool) (uint32, error) {
	id := p.next
	p.next += 2
	return id, p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndStream: true, EndHeaders: whole})
}

// Until reads frames until one is wanted, or the connection ends; nil then, and why.
func (p *Peer) Until(wanted func(http2.Frame) bool) (http2.Frame, error) {
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return nil, err
		}
		if wanted(f) {
			return f, nil
		}
	}
}
