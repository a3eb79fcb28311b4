package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/tests/bench"
)

func (l *load) callers(ctx context.Context) ([]caller, error) {
	if l.way == "go" {
		return l.goCallers(ctx)
	}
	target, err := url.Parse(l.target)
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	operation := bench.Operation(l.operation)
	build := requests[l.way][operation]
	if build == nil {
		return nil, fmt.Errorf("no operation %q by way %q", l.operation, l.way)
	}
	callers := make([]caller, l.connections)
	for i := range callers {
		c, err := dial(ctx, target.Host)
		if err != nil {
			return nil, err
		}
		callers[i] = &httpCaller{conn: c, host: target.Host, token: l.token, build: build, limit: operation.Limit(i), keys: operation.Keys()}
	}
	return callers, nil
}

// request is what an HTTP way sends for a key.
type request struct{ method, target, body string }

// builder makes the request for a key; limit is that of a list.
type builder func(key, limit int) request

//nolint:gochecknoglobals // a constant table
var requests = map[string]map[bench.Operation]builder{
	"v1": {
		bench.Get:  func(key, _ int) request { return request{"GET", "/v1/kv/" + bench.Key(key), ""} },
		bench.List: listV1, bench.ListApart: listV1,
		bench.Put: func(key, _ int) request {
			return request{"PUT", "/v1/kv/" + bench.Key(key), object("value", bench.Value(key))}
		},
	},
	"v3": {
		bench.Get:  func(key, _ int) request { return request{"POST", "/v3/kv/range", object("key", b64(bench.Key(key)))} },
		bench.List: listV3, bench.ListApart: listV3,
		bench.Put: func(key, _ int) request {
			return request{"POST", "/v3/kv/put", object("key", b64(bench.Key(key)), "value", b64(bench.Value(key)))}
		},
	},
}

func listV1(key, limit int) request {
	return request{"GET", fmt.Sprintf("/v1/kv?limit=%d&prefix=%s", limit, bench.Folder(key)), ""}
}

func listV3(key, limit int) request {
	from := bench.Folder(key)
	return request{"POST", "/v3/kv/range", object("key", b64(from), "range_end", b64(clientv3.GetPrefixRangeEnd(from)), "limit", strconv.Itoa(limit))}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// object is a JSON object of these names and strings.
func object(namesAndValues ...string) string {
	members := make(map[string]string, len(namesAndValues)/2)
	for pair := range slices.Chunk(namesAndValues, 2) {
		members[pair[0]] = pair[1]
	}
	text, err := json.Marshal(members)
	if err != nil {
		panic(err) // strings always marshal
	}
	return string(text)
}

// httpCaller speaks HTTP/1.1 on one connection.
type httpCaller struct {
	conn    *conn
	host    string
	token   string
	build   builder
	limit   int
	keys    int // that every answer holds
	checked bool
	sent    []byte
}

func (c *httpCaller) call(_ context.Context, key int) error {
	r := c.build(key, c.limit)
	c.sent = fmt.Appendf(c.sent[:0], "%s %s HTTP/1.1\r\nHost: %s\r\n", r.method, r.target, c.host)
	if c.token != "" {
		c.sent = fmt.Appendf(c.sent, "Authorization: Bearer %s\r\n", c.token)
	}
	if r.body != "" {
		c.sent = fmt.Appendf(c.sent, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(r.body))
	}
	c.sent = append(append(c.sent, "\r\n"...), r.body...)
	status, body, err := c.conn.do(c.sent)
	if err != nil {
		return fmt.Errorf("%s %s: %w", r.method, r.target, err)
	}
	if status/100 != 2 || len(body) < c.keys*bench.ValueSize {
		return fmt.Errorf("%s %s: got %d %s with %d bytes: %.300q", r.method, r.target, status, http.StatusText(status), len(body), body)
	}
	if !c.checked && bytes.Count(body, []byte(`"mod_revision"`)) < c.keys {
		return fmt.Errorf("%s %s: fewer than %d keys in %.300q", r.method, r.target, c.keys, body)
	}
	c.checked = true
	return nil
}

func (c *httpCaller) close() { c.conn.close() }

// goCallers share one client, as its documentation advises.
func (l *load) goCallers(ctx context.Context) ([]caller, error) {
	client, err := clientv3.New(clientv3.Config{Context: ctx, Endpoints: []string{l.target}})
	if err != nil {
		return nil, fmt.Errorf("etcd's Go client: %w", err)
	}
	callers := make([]caller, l.connections)
	for i := range callers {
		callers[i] = &goCaller{client: client, operation: bench.Operation(l.operation), limit: bench.Operation(l.operation).Limit(i)}
	}
	return callers, nil
}

type goCaller struct {
	client    *clientv3.Client
	operation bench.Operation
	limit     int
}

func (c *goCaller) call(ctx context.Context, key int) error {
	if c.operation == bench.Put {
		_, err := c.client.Put(ctx, bench.Key(key), bench.Value(key))
		return err
	}
	name, options := bench.Key(key), []clientv3.OpOption(nil)
	if c.operation.Keys() > 1 {
		name, options = bench.Folder(key), []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithLimit(int64(c.limit))}
	}
	r, err := c.client.Get(ctx, name, options...)
	if err != nil {
		return err
	}
	if len(r.Kvs) != c.operation.Keys() {
		return fmt.Errorf("read %s: got %d keys, want %d", name, len(r.Kvs), c.operation.Keys())
	}
	return nil
}

func (c *goCaller) close() { _ = c.client.Close() } // the last of the sharers to close finds it closed
