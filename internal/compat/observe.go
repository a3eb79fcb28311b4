package compat

import (
	"bytes"
	"context"

	election "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/keyrange"
)

// observed is the client of elections whose observers are looked after: what etcd tells them is what it watches for them.
type observed struct {
	election.ElectionClient

	gateway *Gateway
}

// Observe implements election.ElectionClient.
func (o observed) Observe(ctx context.Context, r *election.LeaderRequest, opts ...grpc.CallOption) (election.Election_ObserveClient, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	s, err := o.ElectionClient.Observe(ctx, r, opts...)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	prefix := append(bytes.Clone(r.GetName()), '/')
	w := &observer{Election_ObserveClient: s, ctx: ctx, span: span{string(prefix), string(keyrange.PrefixEnd(prefix))}, end: cancel}
	context.AfterFunc(ctx, o.gateway.lookAfter(w)) // it ends with the request
	return w, nil
}

// observer is one who observes an election.
type observer struct {
	election.Election_ObserveClient

	ctx  context.Context //nolint:containedctx // an observer is a call under way
	span span
	end  context.CancelCauseFunc
}

// whose implements holder.
func (o *observer) whose() context.Context { return o.ctx }

// holds implements holder: the call ends with its only watch.
func (o *observer) holds(each func(r span, deny func(why *etcdclient.Error))) {
	each(o.span, func(why *etcdclient.Error) { o.end(denial(why)) })
}

// Recv implements election.Election_ObserveClient.
func (o *observer) Recv() (*election.LeaderResponse, error) {
	m, err := o.Election_ObserveClient.Recv()
	if err != nil {
		err = reason(o.ctx, err)
	}
	return m, err
}

// Header implements election.Election_ObserveClient. etcd sends it with the first leader.
func (o *observer) Header() (metadata.MD, error) {
	md, err := o.Election_ObserveClient.Header()
	if err != nil {
		err = reason(o.ctx, err)
	}
	return md, err
}
