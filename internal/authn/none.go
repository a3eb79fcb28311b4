package authn

import "context"

// None is the method of callers that show nothing.
type None struct{ anywhere bool }

// NewNone makes the method. Unless anywhere is set, only connections from this machine's loopback addresses count, which all
// do that come through a proxy on this machine.
func NewNone(anywhere bool) *None { return &None{anywhere} }

// Kind is KindNone.
func (*None) Kind() Kind { return KindNone }

// Challenge is none.
func (*None) Challenge() string { return "" }

// Authenticate takes whoever shows nothing in the request. Credentials that no method before took are not overlooked: who
// shows some is told that they are not good rather than being somebody else.
func (n *None) Authenticate(_ context.Context, c Credentials) (*Principal, error) {
	if c.Authorization != "" || (!n.anywhere && !c.Remote.IsLoopback()) {
		return nil, nil //nolint:nilnil // the credentials are not of this method
	}
	return &Principal{Kind: KindNone, Digest: digest("none", "")}, nil
}
