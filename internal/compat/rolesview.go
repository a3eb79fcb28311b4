package compat

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/metadata"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// whom tells apart to whom etcd shows the same: an identity in a namespace, or a token that only etcd knows.
type whom struct {
	scope authz.Scope
	token string
}

// span is a range as a watch names it.
type span struct{ key, end string }

// view is what somebody watches, each range once, however many watches have it.
type view struct {
	// as is the context of one of the holders.
	as    context.Context //nolint:containedctx // calls are made by what is in it, and not for as long as it is
	spans map[span][]func(why *etcdclient.Error)
}

// viewsOf gathers watches by whose they are.
func viewsOf(holders []holder) map[whom]*view {
	views := make(map[whom]*view)
	for _, h := range holders {
		who := whomOf(h.whose())
		v := views[who]
		if v == nil {
			v = &view{as: h.whose(), spans: make(map[span][]func(*etcdclient.Error))}
			views[who] = v
		}
		h.holds(func(r span, deny func(*etcdclient.Error)) { v.spans[r] = append(v.spans[r], deny) })
	}
	return views
}

func whomOf(ctx context.Context) whom {
	if caller := authz.From(ctx); caller != nil {
		return whom{scope: caller.Scope()}
	}
	md, _ := metadata.FromOutgoingContext(ctx)
	return whom{token: strings.Join(slices.Concat(md[rpctypes.TokenFieldNameGRPC], md[rpctypes.TokenFieldNameSwagger]), "\x00")}
}

// within gives a context that shows who it is, and ends with another one: that of a holder ends when he leaves, and
// others are judged with him.
func (v *view) within(ctx context.Context) (as context.Context, done func()) {
	as, cancel := context.WithCancel(context.WithoutCancel(v.as))
	stop := context.AfterFunc(ctx, cancel)
	return as, func() {
		stop()
		cancel()
	}
}

// judgeView has etcd judge what somebody watches. It is false when that could not be found out.
func (g *Gateway) judgeView(ctx context.Context, v *view) bool {
	ctx, cancel := context.WithTimeout(ctx, judgeTimeout)
	defer cancel()
	as, done := v.within(ctx)
	defer done()
	spans := slices.Collect(maps.Keys(v.spans))
	verdicts, err := g.judgeSpans(as, spans)
	for n, why := range verdicts {
		if why == nil || !etcdclient.RefusesIdentity(why) && !renewable(why) {
			continue
		}
		for _, deny := range v.spans[spans[n]] {
			deny(why)
		}
	}
	return err == nil
}

// judgeSpans has etcd judge ranges for whom the context shows, and tells of each why a watch of it is refused, nil when it is not.
func (g *Gateway) judgeSpans(ctx context.Context, spans []span) (verdicts []*etcdclient.Error, err error) {
	for n := 0; ; n++ {
		verdicts, err = g.probe(ctx, spans)
		if why, is := errors.AsType[*etcdclient.Error](err); is && etcdclient.RefusesIdentity(err) { // he has not even got a token
			return slices.Repeat([]*etcdclient.Error{why}, len(spans)), nil
		}
		stale := slices.IndexFunc(verdicts, func(e *etcdclient.Error) bool { return e != nil && renewable(e) })
		switch {
		case err != nil || stale < 0:
			return verdicts, err
		case n < mostRenewals: // etcd says so of a good token, too, when roles change just while it is judged
		case renewals(ctx) == 0:
			return verdicts, nil
		default: // a new one may not have come to every member yet
			return nil, verdicts[stale]
		}
	}
}

const (
	// never is a revision that no store reaches.
	never = 1 << 62
	// probedAtOnce is how many ranges are asked about before an answer is waited for.
	probedAtOnce = 64
)

// probe begins watches of the ranges, on one stream, at a revision that never comes, and lets go of them.
func (g *Gateway) probe(ctx context.Context, spans []span) (verdicts []*etcdclient.Error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ctx, etcd := g.beneath(ctx, watchKind.method)
	stream, err := etcd.NewStream(ctx, bothWays, watchKind.method)
	if err != nil {
		return nil, err
	}
	s := &ownStream{stream, cancel}
	for some := range slices.Chunk(spans, probedAtOnce) {
		for _, r := range some {
			if err := s.create(&pb.WatchCreateRequest{Key: []byte(r.key), RangeEnd: []byte(r.end), StartRevision: never}); err != nil {
				return verdicts, err
			}
		}
		for range some {
			m, err := s.receive()
			if err != nil {
				return verdicts, err
			}
			var why *etcdclient.Error
			if m.GetCanceled() {
				why = etcdclient.FromReason(m.GetCancelReason())
			}
			verdicts = append(verdicts, why)
		}
	}
	return verdicts, nil
}
