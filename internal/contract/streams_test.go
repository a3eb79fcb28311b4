package contract_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/internal/contract"
)

// complaints is a test that only takes down its faults.
type complaints struct {
	testing.TB

	said []string
}

func (c *complaints) Helper() {}

func (c *complaints) Errorf(format string, args ...any) {
	c.said = append(c.said, fmt.Sprintf(format, args...))
}

func TestMessagesThatTheContractDoesNotDescribe(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ message, complaint string }{
		{`{"type":"created","revision":1,"epoch":"e"}`, ""},
		{`{"type":"created","id":"w1","revision":1,"epoch":"e"}`, ""},
		{`{"type":"created","revision":1}`, "epoch"},
		{`{"type":"created","revision":1,"epoch":"e","more":true}`, "more"},
		{`{"type":"greeting"}`, "does not describe"},
		{`{"type":"events","revision":1,"events":[]}`, "minimum number of items"},
		{`{"type":"events","revision":1,"events":[{"type":"put","kv":{"key":"a","key_base64":"YQ==","mod_revision":1}}]}`, "more than one"},
		{`{"type":"reset","reason":"boredom"}`, "reason"},
		{`{"type":"error","error":{"type":"/problems/truncated","title":"t","status":422,"code":"truncated","detail":"d","retryable":false,"request_id":"r"}}`, "not listed"},
		{`{"type":"error","error":{"type":"/problems/draining","title":"t","status":503,"code":"draining","detail":"d","retryable":true,"request_id":"r"}}`, "table"},
		{`{"type":"pong"`, "no JSON"},
	} {
		c := &complaints{TB: t}
		contract.NewStreams(c).Message([]byte(tt.message))
		said := strings.Join(c.said, "\n")
		if (said == "") != (tt.complaint == "") || !strings.Contains(said, tt.complaint) {
			t.Errorf("%s: got complaints %q, want one about %q", tt.message, said, tt.complaint)
		}
	}
}
