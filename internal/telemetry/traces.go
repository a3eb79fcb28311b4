package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/etcdrest/etcdrest/internal/trail"
)

// Tracing sends spans to an OpenTelemetry collector: one of the server for each request, and one of a client for each attempt
// at a call of etcd. It is safe for concurrent use; make it with NewTracing and Close it.
type Tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	parent   Parent
}

// TracingOptions say where spans go, and how many.
type TracingOptions struct {
	// Endpoint is the URL that spans are posted to as protobuf (OTLP over HTTP).
	Endpoint string
	// Ratio is the share of traces, of those that begin here, that are kept.
	Ratio float64
	// Parent says what a caller's traceparent counts for; empty is FollowParent.
	Parent Parent
	// Version is that of the gateway.
	Version string
	// Logger takes what is wrong with sending.
	Logger *slog.Logger
}

// Parent is what a caller's traceparent counts for.
type Parent string

// What it can count for.
const (
	// FollowParent makes a request part of the caller's trace, which decides whether it is kept.
	FollowParent Parent = "follow"
	// LinkParent has each request begin a trace of its own, linked with the caller's.
	LinkParent Parent = "link"
	// IgnoreParent does not look at it.
	IgnoreParent Parent = "ignore"
)

// Parents are all of them.
func Parents() []string {
	return []string{string(FollowParent), string(LinkParent), string(IgnoreParent)}
}

// NewTracing makes it. Nothing is connected to until there is a span. What the OTEL_ variables of the process say about
// headers, certificates, time-outs, the service's name and attributes counts as well.
func NewTracing(ctx context.Context, o TracingOptions) (*Tracing, error) {
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(o.Endpoint))
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "etcdrest"), attribute.String("service.version", o.Version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("traces: %w", err)
	}
	// The library has no other way to tell that it cannot send.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		o.Logger.Warn("traces cannot be sent", "cause", err.Error()) //nolint:sloglint // it is nobody's context
	}))
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter), sdktrace.WithResource(about),
		sdktrace.WithSampler(sdktrace.ParentBased(linked{sdktrace.TraceIDRatioBased(o.Ratio)})),
	)
	return &Tracing{provider: provider, tracer: provider.Tracer("github.com/etcdrest/etcdrest"), parent: o.Parent}, nil
}

// linked keeps the calls that are made for requests which are kept, and has another sampler decide about the rest: a request is
// linked with what its caller says, which nobody here has decided.
type linked struct{ sdktrace.Sampler }

// ShouldSample implements sdktrace.Sampler.
func (s linked) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if len(p.Links) > 0 && p.Kind != trace.SpanKindServer {
		return sdktrace.AlwaysSample().ShouldSample(p)
	}
	return s.Sampler.ShouldSample(p)
}

// Close sends what is left, for as long as ctx allows.
func (t *Tracing) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }

// callers gives the context of a request's span, and with what it is linked: it is a child of the caller's when that is to be
// followed and he brings a traceparent (W3C Trace Context).
func (t *Tracing) callers(r *http.Request) (context.Context, trace.SpanStartOption) {
	if t.parent == IgnoreParent {
		return r.Context(), trace.WithLinks()
	}
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	if remote := trace.SpanContextFromContext(ctx); t.parent == LinkParent && remote.IsValid() {
		return r.Context(), trace.WithLinks(trace.Link{SpanContext: remote})
	}
	return ctx, trace.WithLinks()
}

// begin opens the span of a request.
func (t *Tracing) begin(r *http.Request, n *trail.Request) context.Context {
	ctx, links := t.callers(r)
	method := knownMethod(n.Method)
	name := method + " " + n.Route
	if n.Route == "" {
		name = method
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(n.Started), links)
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("http.request.method", method), attribute.String("http.route", n.Route),
			attribute.String("network.protocol.version", n.Protocol),
			attribute.String("etcdrest.operation", n.Operation), attribute.String("etcdrest.request_id", n.ID),
		)
	}
	return ctx
}

// end closes the span of a request.
func (t *Tracing) end(ctx context.Context, n *trail.Request) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(
		attribute.Int("http.response.status_code", n.Status), attribute.Int64("http.response.body.size", n.Sent()),
		attribute.Int64("http.request.body.size", n.Received()), attribute.Float64("etcdrest.etcd_ms", milliseconds(n.Upstream())),
	)
	if who := n.Principal(); who != "" {
		span.SetAttributes(attribute.String("enduser.id", trail.Printable(who, mostPrincipal)))
	}
	if transport := n.Transport(); transport != "" {
		span.SetAttributes(attribute.String("etcdrest.transport", transport), attribute.Int64("etcdrest.messages", n.Messages()))
	}
	if n.Code != "" {
		span.SetAttributes(attribute.String("error.type", n.Code))
	}
	if n.Status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, n.Code)
	}
	span.End()
}

// callersKey is where a context has the spans of the callers that a call is made for.
type callersKey struct{}

// Shared gives a context for a call that is made for several callers: its span begins a trace of its own, and is linked with
// theirs.
func (t *Tracing) Shared(ctx context.Context, callers []context.Context) context.Context {
	ctx = trace.ContextWithSpan(ctx, nil)
	var spans []trace.Span
	for _, caller := range callers {
		if span := trace.SpanFromContext(caller); span.IsRecording() {
			spans = append(spans, span)
		}
	}
	if len(spans) == 0 {
		return ctx
	}
	return context.WithValue(ctx, callersKey{}, spans)
}

// Attempt opens the span of one attempt at a call of etcd. A call that nobody asked for has none.
func (t *Tracing) Attempt(ctx context.Context, a trail.Attempt) (attempt context.Context, traceparent string, end func(error)) {
	callers, _ := ctx.Value(callersKey{}).([]trace.Span)
	if len(callers) == 0 && !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, "", nil
	}
	var links []trace.Link
	for _, caller := range callers {
		links = append(links, trace.Link{SpanContext: caller.SpanContext()})
	}
	ctx, span := t.tracer.Start(ctx, "etcdserverpb."+a.Method, trace.WithSpanKind(trace.SpanKindClient), trace.WithLinks(links...))
	span.SetAttributes(
		attribute.String("rpc.system", "grpc"), attribute.String("rpc.method", a.Method), attribute.String("server.address", a.Endpoint),
		attribute.String("etcdrest.member", fmt.Sprintf("%016x", a.Member)), attribute.Int("etcdrest.attempt", a.Number),
	)
	if len(callers) > 0 {
		span.SetAttributes(attribute.Int("etcdrest.callers", len(callers)))
		for _, caller := range callers {
			caller.AddLink(trace.Link{SpanContext: span.SpanContext()})
		}
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return ctx, carrier["traceparent"], func(err error) {
		if err != nil {
			span.SetAttributes(attribute.String("error.type", errorType(err)))
			span.SetStatus(codes.Error, errorType(err))
		}
		span.End()
	}
}

// errorType names an error by a word of a closed set, if it has one: an error's text may hold what is not for others.
func errorType(err error) string {
	if named, ok := errors.AsType[interface {
		error
		Kind() string
	}](err); ok {
		return named.Kind()
	}
	return "other"
}
