package main

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/etcdrest/etcdrest/internal/telemetry"
)

// logs are what the gateway tells of its requests: the access log, the audit log and traces, as far as they are wanted.
type logs struct {
	telemetry.Recorder
	log     *slog.Logger
	sinks   []*telemetry.Sink
	cancel  context.CancelFunc
	writers sync.WaitGroup
}

// openLogs opens what the configuration asks for. The error says which option is at fault.
func openLogs(ctx context.Context, c Config, p process, log *slog.Logger) (*logs, error) {
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l := &logs{log: log, cancel: cancel}
	if err := l.open(ctx, c, p); err != nil {
		return nil, errors.Join(err, l.close(0)) //nolint:contextcheck // nothing has been told that could be waited for
	}
	if l.Access != nil {
		l.writers.Go(func() { l.Access.Run(running) })
	}
	l.writers.Go(func() { l.followRotation(running) })
	return l, nil
}

func (l *logs) open(ctx context.Context, c Config, p process) error {
	if c.AccessLog != "off" {
		sink, err := l.sink("access-log", c.AccessLog, p)
		if err != nil {
			return err
		}
		l.Access = telemetry.NewAccessLog(sink, l.log)
	}
	if c.AuditLog != "" {
		sink, err := l.sink("audit-log", c.AuditLog, p)
		if err != nil {
			return err
		}
		l.Audit = telemetry.NewAuditLog(sink, c.AuditFailure == "refuse", l.log)
	}
	endpoint := c.traces(p.environ)
	if endpoint == "" {
		return nil
	}
	var err error
	l.Traces, err = telemetry.NewTracing(ctx, telemetry.TracingOptions{
		Endpoint: endpoint, Ratio: c.TraceRatio, Parent: telemetry.Parent(c.TraceParent), Version: readBuild().version, Logger: l.log,
	})
	return err
}

func (l *logs) sink(option, name string, p process) (*telemetry.Sink, error) {
	s, err := telemetry.OpenSink(name, p.stdout, p.stderr)
	if err != nil {
		return nil, errors.New(option + ": " + err.Error() + "; name a file that this user may write, stdout or stderr")
	}
	l.sinks = append(l.sinks, s)
	return s, nil
}

// followRotation opens the files anew at each SIGHUP, which is sent after they were moved away.
func (l *logs) followRotation(ctx context.Context) {
	if len(l.sinks) == 0 {
		return
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-hangups:
		case <-ctx.Done():
			return
		}
		for _, s := range l.sinks {
			if err := s.Reopen(); err != nil {
				l.log.ErrorContext(ctx, "a log cannot be opened again; the former file stays", "cause", err.Error())
			}
		}
		l.log.InfoContext(ctx, "logs were opened again")
	}
}

// collectors are the metrics of the logs.
func (l *logs) collectors() (all []prometheus.Collector) {
	if l.Access != nil {
		all = append(all, l.Access)
	}
	if l.Audit != nil {
		all = append(all, l.Audit)
	}
	return all
}

// close writes and sends what is left, for about as long as patience lasts.
func (l *logs) close(patience time.Duration) error {
	var faults []error
	if l.Traces != nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience) //nolint:forbidigo // the gateway's own has ended
		faults = append(faults, l.Traces.Close(ctx))
		cancel()
	}
	l.cancel()
	l.wait(patience)
	if l.Audit != nil {
		faults = append(faults, l.Audit.Close())
	}
	for _, s := range l.sinks {
		faults = append(faults, s.Close())
	}
	return errors.Join(faults...)
}

// wait waits for those who write. An output that nobody reads may hold one up for ever, which must not keep the process.
func (l *logs) wait(patience time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.writers.Wait()
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// traces is the URL that traces go to, empty for none: the option's, else that of the variables that OpenTelemetry defines.
func (c *Config) traces(environ []string) string {
	if c.OTLPEndpoint != "" {
		return withTracesPath(c.OTLPEndpoint)
	}
	given := make(map[string]string)
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		given[name] = value
	}
	switch {
	case strings.EqualFold(given["OTEL_SDK_DISABLED"], "true"):
		return ""
	case given["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] != "":
		return given["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
	case given["OTEL_EXPORTER_OTLP_ENDPOINT"] != "":
		return strings.TrimSuffix(given["OTEL_EXPORTER_OTLP_ENDPOINT"], "/") + "/v1/traces"
	}
	return ""
}

func withTracesPath(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err == nil && strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/traces"
		return u.String()
	}
	return endpoint
}
