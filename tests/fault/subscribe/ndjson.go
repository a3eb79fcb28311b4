package subscribe

import (
	"context"
	"net/http"

	"github.com/etcdrest/etcdrest/tests/fault/history"
)

// NDJSON is a message a line.
type NDJSON struct{ Gateway }

func (NDJSON) String() string { return "ndjson" }

// Open asks for the stream.
func (n NDJSON) Open(ctx context.Context, ask Ask) (Feed, error) {
	s, err := n.get(ctx, n.query(ask), http.Header{"Accept": {"application/x-ndjson"}})
	if err != nil {
		return nil, err
	}
	return &ndjsonFeed{s}, nil
}

type ndjsonFeed struct{ *stream }

func (f *ndjsonFeed) Next() (history.Message, error) {
	text, err := f.in.ReadBytes('\n')
	if err != nil {
		return closed, err // a line that is not whole is of a stream that was cut
	}
	return decode(text)
}
