package main

import (
	"net/http"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/stream"
)

// streams shows operators who watches what, and lets them end it.
type streams struct {
	hub *stream.Hub
	// base is that of problem types.
	base string
}

func (s streams) list(w http.ResponseWriter, _ *http.Request) {
	body, err := s.hub.AppendStreams(nil)
	s.answer(w, body, err)
}

func (s streams) get(w http.ResponseWriter, r *http.Request) {
	body, err := s.hub.AppendStream(nil, r.PathValue("id"))
	s.answer(w, body, err)
}

func (s streams) end(w http.ResponseWriter, r *http.Request) {
	if !s.hub.End(r.PathValue("id")) {
		s.answer(w, nil, problem.New(problem.StreamNotFound, "no stream of this gateway has that id"))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// answer writes the document, or the problem.
func (s streams) answer(w http.ResponseWriter, body []byte, err error) {
	status, kind := http.StatusOK, "application/json"
	if err != nil {
		e := problem.From(err)
		status, kind = e.Code.Info().Status, "application/problem+json"
		body, _ = problem.Document{Base: s.base}.Append(nil, e) // it has no extensions
		body = append(body, '\n')
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // JSON, never a page; the reader may have gone
}
