package stream

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// introduction is a session whose peer has not said yet who he is.
type introduction struct {
	at   netip.Addr
	late *time.Timer
	// first is the watch of the URL, which waits.
	first *Request
}

// mostRefused is how many renewals in a row may fail before the socket ends.
const mostRefused = 5

// shownBy is what the connection of a request shows by itself.
func shownBy(r *http.Request) authn.Credentials {
	at, _ := netip.ParseAddrPort(r.RemoteAddr) // a listener that is no IP's has none
	return authn.Credentials{TLS: r.TLS, Remote: at.Addr()}
}

// receive lets in a peer who has not said yet who he is, when there is room for one more of those.
func (s *session) receive(first *Request) {
	if !s.hub.strangers.enter(s.shown.Remote) {
		s.expel(problem.New(problem.RateLimited, "too many sockets wait for their peers to say who they are").WithRetryAfter(comeBack()))
		return
	}
	s.socket.SetReadLimit(maxIntro)
	s.intro = &introduction{at: s.shown.Remote, first: first}
	s.intro.late = time.AfterFunc(introTime, func() {
		late := problem.New(problem.Unauthenticated, "op auth did not come within %d s", introTime/time.Second)
		s.expelAs(closeAuthTimeout, late)
	})
}

// closeAuthTimeout is the close code of a socket whose peer did not say who he is.
const closeAuthTimeout = 4408

// introduce acts on the first message of such a peer: he says who he is, or has to leave.
func (s *session) introduce(ctx context.Context, message []byte) {
	if !s.intro.late.Stop() { // he has been sent away just now
		return
	}
	var o op
	if err := o.read(message); err != nil || o.name != opAuth {
		s.expel(problem.New(problem.Unauthenticated, `the first message must say who you are: {"op":"auth","token":"…"}`))
		return
	}
	err := s.authenticate(ctx, o.token)
	if err == nil {
		err = s.identity.leavesRoom(s.hub.inside(), s.hub.options.MaxStreams)
	}
	if err != nil {
		s.expel(problem.From(err))
		return
	}
	s.socket.SetReadLimit(maxMessage)
	first := s.intro.first
	s.forgetIntro()
	s.beginFirst(first)
}

// forgetIntro gives the place of a stranger back.
func (s *session) forgetIntro() {
	if s.intro != nil {
		s.intro.late.Stop()
		s.hub.strangers.leave(s.intro.at)
		s.intro = nil
	}
}

// authOp takes new credentials of the same caller. Those that are refused leave everything as it is.
func (s *session) authOp(ctx context.Context, token string) error {
	if s.hub.options.Gate == nil {
		return problem.New(problem.NotSupported, "this gateway asks nobody who they are")
	}
	err := s.authenticate(ctx, token)
	if err == nil {
		s.refused = 0
		return nil
	}
	if s.refused++; s.refused >= mostRefused { // each costs somebody something: etcd a password's hash, say
		s.expel(problem.From(err))
		return nil
	}
	return err
}

// authenticate finds out who the peer is, and answers.
func (s *session) authenticate(ctx context.Context, token string) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	shown := s.shown
	shown.Authorization = token
	if !strings.Contains(token, " ") {
		shown.Authorization = "Bearer " + token
	}
	caller, err := s.hub.options.Gate.Admit(ctx, shown)
	if err != nil {
		return err
	}
	for {
		before := s.identity.now()
		if before.caller != nil {
			if err := sameCaller(before.caller, caller); err != nil {
				return err
			}
		}
		after := s.hub.accessOf(caller)
		done, err := s.identity.replace(before, after, 0)
		if err != nil {
			return err
		}
		if !done { // he was judged again meanwhile
			continue
		}
		s.notes.SetPrincipal(caller.Principal.Name)
		s.reply(appendAuthenticated(nil, after.expires()))
		s.become(after)
		return nil
	}
}

func appendAuthenticated(dst []byte, expires time.Time) []byte {
	dst = append(dst, `{"type":"authenticated"`...)
	if !expires.IsZero() {
		dst = append(dst, `,"expires_at":"`...)
		dst = expires.UTC().AppendFormat(dst, time.RFC3339)
		dst = append(dst, '"')
	}
	return append(dst, '}')
}

// become implements subscriber: what the caller may not do any more ends.
func (s *session) become(a access) {
	s.mu.Lock()
	cursors := s.cursorsLocked()
	var leases []*lease
	if a.mayLease() != nil {
		for _, l := range s.leases {
			leases = append(leases, l)
		}
	}
	s.mu.Unlock()
	for _, c := range cursors {
		c.become(a)
	}
	for _, l := range leases {
		l.Lost(a.mayLease())
		l.stop()
	}
}

// expel says why the socket ends, and ends it.
func (s *session) expel(e *problem.Error) {
	s.expelAs(websocket.StatusCode(e.Code.Info().Close), e)
}

func (s *session) expelAs(code websocket.StatusCode, e *problem.Error) {
	s.mu.Lock()
	if s.closing == nil {
		s.replies = append(s.replies, s.hub.appendError([]byte{'{'}, e, s.requestID, 0))
	}
	s.mu.Unlock()
	s.close(&closing{code: code, reason: string(e.Code), why: e})
}
