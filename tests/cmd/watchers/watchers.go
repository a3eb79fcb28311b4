package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// watchers are subscribers of one prefix, each on a WebSocket of its own.
type watchers struct {
	way, target, prefix string
	subscribers, events int
}

// subscribe opens all sockets, some at a time, and returns once every watch stands.
func (w *watchers) subscribe(ctx context.Context) ([]*socket, error) {
	target, err := url.Parse(w.target)
	if err != nil {
		return nil, err
	}
	sockets, errs := make([]*socket, w.subscribers), make([]error, w.subscribers)
	var group sync.WaitGroup
	turn := make(chan struct{}, 64)
	for i := range sockets {
		turn <- struct{}{}
		group.Go(func() {
			defer func() { <-turn }()
			sockets[i], errs[i] = w.open(ctx, i, target.Host)
		})
	}
	group.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("subscriber %d of %d: %w", i+1, w.subscribers, err)
		}
	}
	return sockets, nil
}

func (w *watchers) open(ctx context.Context, n int, host string) (*socket, error) {
	path, subprotocol := "/v1/watch?prefix="+url.QueryEscape(w.prefix), "etcdrest.v1"
	if w.way == "v3" {
		path, subprotocol = "/v3/watch", ""
	}
	s, err := dial(ctx, n, host, path, subprotocol)
	if err != nil {
		return nil, err
	}
	if w.way == "v3" {
		if err := s.send(text, w.create()); err != nil {
			return nil, err
		}
	}
	m, err := s.message()
	if err == nil && !bytes.Contains(m, []byte("created")) {
		err = fmt.Errorf("got %q, want that the watch is created", m)
	}
	return s, err
}

// create is etcd's own request.
func (w *watchers) create() []byte {
	b64 := base64.StdEncoding.EncodeToString
	request, err := json.Marshal(map[string]any{"create_request": map[string]string{
		"key": b64([]byte(w.prefix)), "range_end": b64([]byte(clientv3.GetPrefixRangeEnd(w.prefix))),
	}})
	if err != nil {
		panic(err) // strings always marshal
	}
	return request
}

// read reads until every subscriber has seen all events.
func (w *watchers) read(sockets []*socket) error {
	errs := make(chan error, len(sockets))
	for _, s := range sockets {
		go func() { errs <- w.readOne(s) }()
	}
	for range sockets {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

// readOne counts events by the name that both ways have once in each.
func (w *watchers) readOne(s *socket) error {
	for seen := 0; seen < w.events; {
		m, err := s.message()
		if err != nil {
			return err
		}
		seen += bytes.Count(m, []byte(`"kv"`))
	}
	return nil
}
