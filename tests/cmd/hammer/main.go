// Command hammer sends requests over many connections without regard for the answers, as a broken or hostile client does,
// until its time is over, and prints as JSON how many came back with which status. It is a process of its own and nice to
// others, so that what it costs itself is not taken for what it does to the gateway.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// niceness leaves the processors to those who need them: the client stands for other machines.
const niceness = 15

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hammer:", err)
		os.Exit(1)
	}
}

// hammer is what to send, and how.
type hammer struct {
	target, token string
	requests      []request
	connections   int
	pause         time.Duration
	forged        bool
	client        *http.Client
}

type request struct{ method, path, body string }

// result is what one connection got.
type result struct {
	statuses map[string]int
	refused  []time.Duration
	hints    int
}

func run(ctx context.Context, args []string) error {
	h := hammer{}
	flags := flag.NewFlagSet("hammer", flag.ContinueOnError)
	flags.StringVar(&h.target, "target", "", "URL of the gateway")
	flags.StringVar(&h.token, "token", "", "the token to show")
	flags.IntVar(&h.connections, "connections", 64, "connections, each with one request under way")
	flags.DurationVar(&h.pause, "pause", 0, "between an answer and the next request of a connection")
	flags.BoolVar(&h.forged, "unknown-keys", false, "every token names another key")
	duration := flags.Duration("duration", 0, "how long to go on; without, until it is told to stop")
	flags.Func("request", "METHOD PATH [BYTES], where BYTES is the size of a body (repeatable; sent in turn)", func(text string) error {
		r, err := parse(text)
		h.requests = append(h.requests, r)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, niceness); err != nil {
		return fmt.Errorf("be nice: %w", err)
	}
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}
	fmt.Println("hammering")
	return json.NewEncoder(os.Stdout).Encode(h.run(ctx))
}

func parse(text string) (r request, err error) {
	var size int
	if n, _ := fmt.Sscan(text, &r.method, &r.path, &size); n < 2 {
		return r, errors.New("a request is METHOD PATH [BYTES]")
	}
	if size > 0 {
		r.body = `{"value":"` + strings.Repeat("x", max(size-len(`{"value":""}`), 0)) + `"}`
	}
	return r, nil
}

// summary is what is printed.
type summary struct {
	// Statuses counts the answers by status, and "error" those that never came.
	Statuses map[string]int `json:"statuses"`
	// Refused are the answers 429 and 503, Hinted those with a Retry-After, RefusedP50 what they took in the middle.
	Refused    int           `json:"refused"`
	Hinted     int           `json:"hinted"`
	RefusedP50 time.Duration `json:"refused_p50"`
	Seconds    float64       `json:"seconds"`
}

func (h *hammer) run(ctx context.Context) summary {
	h.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: h.connections, MaxConnsPerHost: h.connections, DisableCompression: true}}
	began := time.Now()
	results := make([]result, h.connections)
	var all sync.WaitGroup
	for i := range results {
		all.Go(func() { results[i] = h.connection(ctx, i) })
	}
	all.Wait()
	s := summary{Statuses: map[string]int{}, Seconds: time.Since(began).Seconds()}
	var refused []time.Duration
	for _, r := range results {
		for status, n := range r.statuses {
			s.Statuses[status] += n
		}
		refused = append(refused, r.refused...)
		s.Hinted += r.hints
	}
	slices.Sort(refused)
	if s.Refused = len(refused); s.Refused > 0 {
		s.RefusedP50 = refused[s.Refused/2]
	}
	return s
}

func (h *hammer) connection(ctx context.Context, number int) result {
	r := result{statuses: map[string]int{}}
	for n := 0; ctx.Err() == nil; n++ {
		began := time.Now()
		status, hinted, err := h.send(ctx, h.requests[(n+number)%len(h.requests)], fmt.Sprintf("%d-%d", number, n))
		switch {
		case ctx.Err() != nil:
		case err != nil:
			r.statuses["error"]++
		default:
			r.statuses[strconv.Itoa(status)]++
		}
		if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
			r.refused = append(r.refused, time.Since(began))
			if hinted {
				r.hints++
			}
		}
		if h.pause > 0 {
			wait := time.NewTimer(h.pause)
			select {
			case <-wait.C:
			case <-ctx.Done():
				wait.Stop()
			}
		}
	}
	return r
}

func (h *hammer) send(ctx context.Context, what request, kid string) (status int, hinted bool, err error) {
	r, err := http.NewRequestWithContext(ctx, what.method, h.target+what.path, strings.NewReader(what.body))
	if err != nil {
		return 0, false, err
	}
	r.Header.Set("Content-Type", "application/json")
	if token := h.credential(kid); token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := h.client.Do(r)
	if err != nil {
		return 0, false, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, answer.Header.Get("Retry-After") != "", err
}
