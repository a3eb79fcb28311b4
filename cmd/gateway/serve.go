package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/etcdrest/etcdrest/internal/compat"
	"github.com/etcdrest/etcdrest/internal/epoch"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/stream"
	"github.com/etcdrest/etcdrest/internal/telemetry"
)

func runServe(ctx context.Context, p process) error {
	c, err := load(p)
	if err != nil {
		return err
	}
	return serve(ctx, c, p, nil)
}

func runDev(ctx context.Context, p process) error {
	c, err := load(p)
	if err != nil {
		return err
	}
	return serve(ctx, c, p, startStore)
}

// store is an etcd of our own.
type store interface {
	Endpoint() string
	// Err delivers the error of a store that ended by itself.
	Err() <-chan error
	Close()
}

// serve is the life of the gateway: everything is made in the order of dependency, and stopped in the reverse order when
// ctx ends or a part fails. start is nil when the etcd behind is somebody else's.
func serve(ctx context.Context, c Config, p process, start func(context.Context, Config, *slog.Logger) (store, error)) error {
	log, err := telemetry.NewLogger(p.stderr, c.LogFormat, c.LogLevel)
	if err != nil {
		return err
	}
	// Addresses come first: that one is taken is the likeliest fault, and is told at once.
	apiListener, err := listen(ctx, "listen", c.Listen)
	if err != nil {
		return err
	}
	defer closeQuietly(apiListener)
	var adminListener net.Listener
	if c.AdminListen != "" {
		if adminListener, err = listen(ctx, "admin-listen", c.AdminListen); err != nil {
			return err
		}
		defer closeQuietly(adminListener)
	}

	told, err := openLogs(ctx, c, p, log)
	if err != nil {
		return err
	}
	defer func() {
		if err := told.close(max(min(c.ShutdownGrace, flushTime), time.Second)); err != nil { //nolint:contextcheck // ctx has ended by then
			log.WarnContext(ctx, "not everything could be told", "cause", err.Error())
		}
	}()

	var storeEnded <-chan error
	if start != nil {
		s, err := start(ctx, c, log)
		if ctx.Err() != nil {
			return nil // told to stop while starting: that is no failure
		}
		if err != nil {
			return err
		}
		defer s.Close()
		storeEnded, c.Endpoints = s.Err(), []string{s.Endpoint()}
		c.sources["endpoints"] = fromDev
	}

	client, err := connect(c, log, told) //nolint:contextcheck // the client has a life of its own, which Close ends
	if err != nil {
		return err
	}
	defer closeQuietly(client)

	epochs := epoch.New(client)
	tlsConfig, authorities, err := c.serverTLS(log)
	if err != nil {
		return err
	}
	door, err := newDoor(c, client, authorities, log, func() (Config, error) { return load(p) })
	if err != nil {
		return err
	}
	watching := stream.Options{
		PublicURL: c.PublicURL, MaxRevisionBytes: int(c.MaxRevisionBytes), LogBytes: c.WatchLogBytes,
		MaxCatchupRevisions: c.MaxCatchupRevisions, MaxStreams: int(c.MaxStreams), Logger: log,
	}
	if door != nil {
		watching.Gate = door.gate
	}
	hub := stream.New(client, epochs, watching) //nolint:contextcheck // the hub has a life of its own, which Close ends
	defer hub.Close()
	etcdsOwn := compat.Options{
		MaxBodyBytes: c.MaxBodyBytes, RequestTimeout: c.RequestTimeout, MaxStreams: int(c.MaxStreams),
		AdvertiseURL: c.AdvertiseURL, Feeds: feeds{hub},
	}
	if door != nil {
		etcdsOwn.Gate = door.gate
		door.changed = append(door.changed, hub.Rejudge)
	}
	v3, err := compat.New(client, etcdsOwn) //nolint:contextcheck // as above; Drain ends it
	if err != nil {
		return err
	}
	defer v3.Close()
	requests := telemetry.NewHTTP()
	options := handlers.Options{
		PublicURL: c.PublicURL, AllowedHosts: c.AllowedHosts, AllowedOrigins: c.AllowedOrigins,
		MaxBodyBytes: c.MaxBodyBytes, MaxValueBytes: c.MaxValueBytes, RequestTimeout: c.RequestTimeout,
		MaxRequests: c.MaxRequests, MaxBytes: c.MaxBytesInFlight,
		Version: readBuild().version, Logger: log, Observer: requests,
		Watches: hub, Compat: v3, Epoch: epochs,
	}
	if door != nil {
		options.Gate = door.gate
		door.changed = append(door.changed, v3.Rejudge)
	}
	if !told.Idle() {
		options.Recorder = &told.Recorder
	}
	api, err := handlers.New(client, options)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	if err := register(registry, append(told.collectors(), requests, client, hub)...); err != nil {
		return err
	}

	apiServer := newAPIServer(tlsConfig, c.IdleTimeout, log, requests.InFlight(api))
	apiServer.start(ctx, limited(apiListener, c.MaxConnections, refusalOf(c)))
	defer apiServer.cut()
	adminEnded := make(<-chan error)
	if adminListener != nil {
		adminServer := newAdminServer(c, log, registry, api, hub)
		adminServer.start(ctx, adminListener)
		defer adminServer.cut()
		adminEnded = adminServer.ended
	}
	running, stopRunning := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() { reportStore(running, client, log) })
	watcher.Go(func() { hub.Run(running) })
	if door != nil {
		watcher.Go(func() { door.run(running) })
	}
	defer watcher.Wait()
	defer stopRunning()

	announce(p.stderr, c, apiListener, adminListener, start != nil)
	log.InfoContext(ctx, "serving", "listen", apiListener.Addr().String(), "admin_listen", addressOf(adminListener),
		"endpoints", c.Endpoints, "version", readBuild().version)

	select {
	case <-ctx.Done():
		log.InfoContext(ctx, "stopping", "grace", c.ShutdownGrace.String())
		api.Drain()
		if !drain(ctx, c.ShutdownGrace, hub, v3, apiServer) {
			log.WarnContext(ctx, "requests were cut, or streams, because they did not finish within shutdown-grace")
		}
		log.InfoContext(ctx, "stopped")
		return nil
	case err = <-apiServer.ended:
	case err = <-adminEnded:
	case err = <-storeEnded:
		err = fmt.Errorf("the etcd of `gateway dev` ended: %w", err)
	}
	return err
}

// flushTime is how long sending what is left of traces may take at the end, and shutdown-grace when that is less.
const flushTime = 5 * time.Second

// drain has the watches say goodbye while the requests under way finish; it tells whether all of them did within grace.
func drain(ctx context.Context, grace time.Duration, hub *stream.Hub, v3 *compat.Gateway, requests *server) bool {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	var (
		streams      sync.WaitGroup
		gone, v3Gone bool
	)
	streams.Go(func() { gone = hub.Drain(bounded) })
	streams.Go(func() { v3Gone = v3.Drain(bounded) })
	finished := requests.drain(ctx, grace)
	streams.Wait()
	return finished && gone && v3Gone
}

// connect makes the client of etcd. It does not wait for etcd.
func connect(c Config, log *slog.Logger, told *logs) (*etcdclient.Client, error) {
	tlsConfig, roots, err := c.clientTLS(log)
	if err != nil {
		return nil, err
	}
	password, err := c.password()
	if err != nil {
		return nil, err
	}
	config := etcdclient.Config{
		Endpoints: c.Endpoints, DialTimeout: c.DialTimeout, TLS: tlsConfig, Roots: roots, MaxCalls: int(c.MaxCalls),
		Username: c.EtcdUser, Password: password, Logger: log,
	}
	if told.Audit != nil {
		config.Auditor = told.Audit
	}
	if told.Traces != nil {
		config.Tracer = told.Traces
	}
	return etcdclient.New(config)
}

func register(r *prometheus.Registry, more ...prometheus.Collector) error {
	var faults []error
	all := append([]prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(),
	}, more...)
	for _, c := range all {
		faults = append(faults, r.Register(c))
	}
	return errors.Join(faults...)
}

func buildInfo() prometheus.Collector {
	b := readBuild()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "etcdrest_build_info", Help: "Always 1; the labels tell what is running.",
		ConstLabels: prometheus.Labels{"version": b.version, "commit": b.commit, "go": b.goVersion, "etcd_api": b.etcdAPI},
	})
	info.Set(1)
	return info
}

// patience is how long etcd may take to answer at the start before a line says that it does not.
const patience = 2 * time.Second

// reportStore says in the log whether etcd answers: the gateway starts without it, and is ready when it is there.
func reportStore(ctx context.Context, client *etcdclient.Client, log *slog.Logger) {
	soon, cancel := context.WithTimeout(ctx, patience)
	err := client.WaitReady(soon)
	cancel()
	if err == nil || ctx.Err() != nil {
		return
	}
	log.WarnContext(ctx, "etcd does not answer; /readyz says no until it does", "cause", err.Error())
	if client.WaitReady(ctx) == nil {
		log.InfoContext(ctx, "etcd answers")
	}
}

func closeQuietly(c interface{ Close() error }) {
	_ = c.Close() // what was to be said about it has been said by its user
}
