package stream

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// metrics describes what a hub tells about itself. Every gauge is counted from the hub's state when it is collected, so
// that no order of cancelling, closing and resuming can make one drift or fall below zero. Labels come from closed sets:
// transports, states, problem codes; nothing is told by watch or by key.
type metrics struct {
	streams, streamsLimit, watches, feeds, catchups, logBytes, logLimit *prometheus.Desc
	mostRevisions, mostBytes, allRevisions, allBytes                    *prometheus.Desc
	resumes, ends, sent                                                 *prometheus.Desc
}

var _ prometheus.Collector = (*Hub)(nil)

func newMetrics() *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("etcdrest_stream_"+name, help, labels, nil)
	}
	return &metrics{
		streams:       desc("connections", "Connections that watch, polls included.", "transport"),
		streamsLimit:  desc("connections_limit", "How many connections may watch (--max-streams)."),
		watches:       desc("watches", "Watches of all connections.", "state"),
		feeds:         desc("feeds", "Ranges that are watched at etcd, each once for all who watch it."),
		catchups:      desc("catchups", "Replays of etcd's log for watches that begin in the past or have fallen behind.", "state"),
		logBytes:      desc("log_bytes", "Memory that the recent changes take which watches read from."),
		logLimit:      desc("log_limit_bytes", "How much memory the recent changes may take (--watch-log-bytes)."),
		mostRevisions: desc("lag_revisions_max", "Revisions that the watch that is farthest behind still has to be told."),
		mostBytes:     desc("lag_bytes_max", "Bytes in memory that the watch that is farthest behind still has to be told."),
		allRevisions:  desc("lag_revisions", "Revisions that all watches together still have to be told."),
		allBytes:      desc("lag_bytes", "Bytes in memory that all watches together still have to be told."),
		resumes:       desc("feed_resumes_total", "Interruptions of the watches at etcd, which went on elsewhere."),
		ends:          desc("watches_ended_total", "Watches that ended, by problem code; end is a watch that was cancelled or had its time.", "code"),
		sent:          desc("sent_bytes_total", "Bytes sent to connections that watch.", "transport"),
	}
}

// Describe implements prometheus.Collector.
func (h *Hub) Describe(out chan<- *prometheus.Desc) {
	m := h.metrics
	for _, d := range []*prometheus.Desc{
		m.streams, m.streamsLimit, m.watches, m.feeds, m.catchups, m.logBytes, m.logLimit,
		m.mostRevisions, m.mostBytes, m.allRevisions, m.allBytes, m.resumes, m.ends, m.sent,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (h *Hub) Collect(out chan<- prometheus.Metric) {
	m, s := h.metrics, h.survey()
	gauge := func(d *prometheus.Desc, value int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
	}
	counter := func(d *prometheus.Desc, value int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	for _, transport := range [...]string{overWebSocket, overSSE, overNDJSON, overPoll} {
		gauge(m.streams, s.streams[transport], transport)
		counter(m.sent, s.sent[transport], transport)
	}
	for _, state := range [...]string{stateLive, stateCatchingUp, stateQueued, stateSnapshot, stateEnded} {
		gauge(m.watches, s.watches[state], state)
	}
	for state, name := range map[catchupState]string{catchupQueued: "queued", catchupRunning: "running", catchupPaused: "paused"} {
		gauge(m.catchups, s.catchups[state], name)
	}
	for code, n := range s.ends {
		if code == "" {
			code = "end"
		}
		counter(m.ends, n, string(code))
	}
	gauge(m.feeds, s.feeds)
	gauge(m.streamsLimit, int64(h.options.MaxStreams))
	gauge(m.logBytes, s.logBytes)
	gauge(m.logLimit, h.options.LogBytes)
	gauge(m.mostRevisions, s.most.behind)
	gauge(m.mostBytes, s.most.bytes)
	gauge(m.allRevisions, s.all.behind)
	gauge(m.allBytes, s.all.bytes)
	counter(m.resumes, s.resumes)
}

// survey is the state of a hub. Each part of it was so at one moment; the parts follow one another.
type survey struct {
	streams, sent, watches map[string]int64
	catchups               map[catchupState]int64
	ends                   map[problem.Code]int64
	feeds, logBytes        int64
	resumes                int64
	most, all              placeInfo // of the largest lag, and of all together
}

// survey counts what there is.
func (h *Hub) survey() *survey {
	s := &survey{
		streams: make(map[string]int64), watches: make(map[string]int64), catchups: make(map[catchupState]int64),
		logBytes: h.logs.bytes.Load(), resumes: h.resumes.Load(),
	}
	feeds, cursors := h.census(s)
	places := make(map[*feed][]placed, len(feeds))
	for _, f := range feeds {
		places[f] = nil
	}
	for _, c := range cursors {
		f, state := c.standing()
		if f == nil {
			s.watches[state]++
			continue
		}
		places[f] = append(places[f], placed{c, state}) // its feed may be one that has ended, and is found no more
	}
	for f, its := range places {
		s.visit(f, its)
	}
	return s
}

// placed is a cursor and its state, "" where that follows from its place.
type placed struct {
	cursor *Cursor
	state  string
}

// census counts what is under the hub's own lock, and gives the feeds and cursors there are.
func (h *Hub) census(s *survey) ([]*feed, []*Cursor) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.sent, s.ends, s.feeds = maps.Clone(h.sent), maps.Clone(h.ends), int64(len(h.feeds))
	for _, stream := range h.streams {
		transport, sent := stream.traffic()
		s.streams[transport]++
		s.sent[transport] += sent
	}
	return slices.Collect(maps.Values(h.feeds)), slices.Collect(maps.Keys(h.cursors))
}

// visit counts what is under a feed's lock.
func (s *survey) visit(f *feed, cursors []placed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, u := range f.catchups {
		s.catchups[u.state]++
	}
	for _, c := range cursors {
		p := f.placeLocked(c.cursor, c.state)
		s.watches[p.state]++
		s.most.behind, s.most.bytes = max(s.most.behind, p.behind), max(s.most.bytes, p.bytes)
		s.all.behind += p.behind
		s.all.bytes += p.bytes
	}
}
