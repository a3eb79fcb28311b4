package harness

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Gateway is a gateway that serves.
type Gateway struct {
	*Process

	API, Admin string // URLs; API is https with --tls-cert among the arguments
	Etcd       string // client URL of the etcd behind: `gateway dev`'s own, or the first of --endpoints
}

// StartGateway runs the gateway with these arguments and returns once it is ready. Its listeners have free ports and its
// log is JSON, unless the arguments say otherwise.
func (p Programs) StartGateway(ctx context.Context, args ...string) (*Gateway, error) {
	process, err := Start(ctx, p.Gateway, args, []string{
		"ETCDREST_LISTEN=127.0.0.1:0", "ETCDREST_ADMIN_LISTEN=127.0.0.1:0", "ETCDREST_LOG_FORMAT=json",
	})
	if err != nil {
		return nil, err
	}
	scheme := "http://"
	if slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--tls-cert=") }) {
		scheme = "https://"
	}
	g := &Gateway{Process: process}
	if err := g.wait(ctx, scheme); err != nil {
		_ = process.Stop()
		return nil, err
	}
	return g, nil
}

// wait reads the addresses from the log and asks until the gateway is ready.
func (g *Gateway) wait(ctx context.Context, scheme string) error {
	var serving struct {
		Msg         string
		Listen      string
		AdminListen string `json:"admin_listen"`
		Endpoints   []string
	}
	_, err := g.WaitFor(ctx, "that it serves", func(line string) bool {
		return json.Unmarshal([]byte(line), &serving) == nil && serving.Msg == "serving"
	})
	if err != nil {
		return err
	}
	g.API, g.Admin, g.Etcd = scheme+serving.Listen, "http://"+serving.AdminListen, serving.Endpoints[0]
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		if ready(ctx, g.API) {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; its output:\n%s", g, ctx.Err(), g.Output())
		}
	}
}

func ready(ctx context.Context, api string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, api+"/readyz", http.NoBody)
	if err != nil {
		return false
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // whether it is ready, not who it is
	}}
	answer, err := client.Do(r)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}
