package contract

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// problemBody checks a body that is a problem with one of the codes.
func (x *exchange) problemBody(codes []string) {
	if x.request.Method == http.MethodHead {
		return
	}
	if x.mediaType != problemType {
		x.fail("the media type of an error is %s, not %q", problemType, x.answer.Header.Get("Content-Type"))
		return
	}
	x.jsonBody(func(doc any) {
		x.document(x.spec.schema("Problem"), doc)
		x.problem(doc, codes, true)
	})
}

// problem checks what the schema cannot say: that the members agree with the table of codes, the request and the status.
// In a stream the status line went out before the problem was known.
func (x *exchange) problem(doc any, codes []string, status bool) {
	p, ok := doc.(map[string]any)
	if !ok {
		x.fail("the problem is no object")
		return
	}
	code, _ := p["code"].(string)
	info, known := problem.Lookup(code)
	if !known {
		x.fail("the problem code %q is not in the table", code)
		return
	}
	if !slices.Contains(codes, code) {
		x.fail("the problem code %s (%v) is not listed for this operation", code, p["detail"])
	}
	if status && info.Status != x.answer.StatusCode {
		x.fail("the problem code %s has the status %d", code, info.Status)
	}
	if got, _ := p["status"].(json.Number); got.String() != strconv.Itoa(info.Status) {
		x.fail("the member status of the problem %s is %v, not %d", code, p["status"], info.Status)
	}
	if p["title"] != info.Title {
		x.fail("the title of the problem %s is %q, not %q", code, p["title"], info.Title)
	}
	if p["retryable"] != info.Retryable {
		x.fail("the member retryable of the problem %s is %v, not %v", code, p["retryable"], info.Retryable)
	}
	if target, _ := p["type"].(string); !strings.HasSuffix(target, "/problems/"+code) {
		x.fail("the type of the problem %s is %q", code, target)
	}
	if id := x.answer.Header.Get("X-Request-Id"); p["request_id"] != id {
		x.fail("the problem has the request_id %v, the header X-Request-Id %s", p["request_id"], id)
	}
	x.outcome(p, info)
}

// outcome checks that a failed write says what it did, and that nothing else does.
func (x *exchange) outcome(p map[string]any, info problem.Info) {
	_, given := p["outcome"]
	switch write := x.writes(); {
	case write && !given && info.Outcome != "":
		x.fail("the problem %s of a write has no outcome", info.Code)
	case !write && given:
		x.fail("the problem %s has an outcome, but the request is no write", info.Code)
	}
}

func (x *exchange) writes() bool {
	return x.operation != nil && x.request.Method != http.MethodGet && x.request.Method != http.MethodHead
}
