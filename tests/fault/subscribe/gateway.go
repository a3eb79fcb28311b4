package subscribe

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"

	"github.com/etcdrest/etcdrest/tests/fault/history"
)

// Gateway is where the transports of the contract connect to. Each connection is a TCP connection of its own.
type Gateway struct {
	URL string
	// Heartbeat in seconds; 0: the gateway's default.
	Heartbeat int
	// Epoch, if given, is sent with every start.
	Epoch string
	// ReadBuffer is the size of the socket's receive buffer; 0: the system's. A small one makes a client slow.
	ReadBuffer int
}

// query is the ask as URL parameters.
func (g Gateway) query(ask Ask) url.Values {
	q := url.Values{}
	view := ask.View
	switch {
	case view.Prefix:
		q.Set("prefix", view.Key)
	case view.To != "":
		q.Set("from", view.Key)
		q.Set("to", view.To)
	default:
		q.Set("key", view.Key)
	}
	for name, set := range map[string]bool{"prev_kv": view.PrevKV, "keys_only": view.KeysOnly, "snapshot": ask.Snapshot} {
		if set {
			q.Set(name, "true")
		}
	}
	if view.Only != "" {
		q.Set("events", string(view.Only))
	}
	if ask.Start > 0 {
		q.Set("start_revision", strconv.FormatInt(ask.Start, 10))
		if g.Epoch != "" {
			q.Set("epoch", g.Epoch)
		}
	}
	if g.Heartbeat > 0 {
		q.Set("heartbeat", strconv.Itoa(g.Heartbeat))
	}
	return q
}

// line is one TCP connection to the gateway.
type line struct{ conn atomic.Pointer[net.TCPConn] }

// client makes requests on a connection of their own, which the line then holds.
func (g Gateway) client() (*http.Client, *line) {
	l := &line{}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			l.conn.Store(tcp)
			if g.ReadBuffer > 0 {
				err = tcp.SetReadBuffer(g.ReadBuffer)
			}
		}
		return conn, err
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}, l
}

// cut ends the connection: in good order (FIN), or as a crash does (RST).
func (l *line) cut(abruptly bool) {
	conn := l.conn.Load()
	if conn == nil {
		return
	}
	if abruptly {
		_ = conn.SetLinger(0) // what is under way is thrown away, and the peer is told so
	}
	_ = conn.Close()
}

// stream is an answer that goes on.
type stream struct {
	*line

	header http.Header
	body   io.Closer
	in     *bufio.Reader
}

// get asks for a stream; a status that is not 200 is the refusal of its document.
func (g Gateway) get(ctx context.Context, q url.Values, header http.Header) (*stream, error) {
	client, l := g.client()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+"/v1/watch?"+q.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header = header
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		return nil, refusal(answer)
	}
	return &stream{line: l, header: answer.Header, body: answer.Body, in: bufio.NewReaderSize(answer.Body, 64<<10)}, nil
}

// Close leaves.
func (s *stream) Close(abruptly bool) {
	s.cut(abruptly)
	_ = s.body.Close() // cut
}

// refusal reads the problem document of an answer.
func refusal(answer *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return err
	}
	r := &RefusalError{}
	if err := json.Unmarshal(text, r); err != nil || r.Code == "" {
		return fmt.Errorf("status %d without a problem: %.200q", answer.StatusCode, text)
	}
	r.Status = answer.StatusCode
	return r
}

// closed is the message that never was.
var closed history.Message //nolint:gochecknoglobals // the zero value, named
