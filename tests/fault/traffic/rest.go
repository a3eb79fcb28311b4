package traffic

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// REST writes through the gateway.
type REST struct {
	URL    string
	Client *http.Client
}

// Write is a PUT, a DELETE, or a transaction.
func (r REST) Write(ctx context.Context, ops []Op) Write {
	w := Write{Ops: ops, Told: Unknown}
	status, header, answer, err := r.send(ctx, ops)
	if err != nil {
		w.Err = err
		return w
	}
	if status/100 == 2 {
		w.Told = Applied
		w.Revision, w.Err = strconv.ParseInt(header.Get("Etcd-Revision"), 10, 64)
		return w
	}
	var problem struct{ Code, Outcome string }
	if err := json.Unmarshal(answer, &problem); err == nil && problem.Outcome == string(NotApplied) {
		w.Told = NotApplied
	}
	w.Err = fmt.Errorf("%d %s", status, problem.Code)
	return w
}

func (r REST) send(ctx context.Context, ops []Op) (status int, header http.Header, answer []byte, err error) {
	method, path, body := request(ops)
	sent, err := json.Marshal(body)
	if err != nil {
		return 0, nil, nil, err
	}
	if method == http.MethodDelete {
		sent = nil
	}
	req, err := http.NewRequestWithContext(ctx, method, r.URL+path, bytes.NewReader(sent))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	reply, err := r.Client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer reply.Body.Close()
	answer, err = io.ReadAll(reply.Body)
	return reply.StatusCode, reply.Header, answer, err
}

func request(ops []Op) (method, path string, body any) {
	if len(ops) > 1 {
		then := make([]any, 0, len(ops))
		for _, op := range ops {
			if op.Delete {
				then = append(then, map[string]any{"delete": map[string]any{"key": op.Key}})
			} else {
				then = append(then, map[string]any{"put": map[string]any{"key": op.Key, "value": op.Value}})
			}
		}
		return http.MethodPost, "/v1/txn?timeout=2", map[string]any{"then": then}
	}
	op := ops[0]
	path = "/v1/kv/" + op.Key + "?timeout=2"
	if op.Delete {
		return http.MethodDelete, path, nil
	}
	put := map[string]any{"value": op.Value}
	if op.TTL > 0 {
		put["ttl"] = op.TTL
	}
	return http.MethodPut, path, put
}
