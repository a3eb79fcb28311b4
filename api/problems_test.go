package api_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/api"
	"github.com/etcdrest/etcdrest/internal/problem"
)

func TestProblemPagesSayWhatTheTableSays(t *testing.T) {
	t.Parallel()
	index, err := api.ProblemIndexHTML("")
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range problem.Codes() {
		page, err := api.ProblemHTML("https://kv.example/etcd", info)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"<code>" + string(info.Code) + "</code>", strconv.Itoa(info.Status), strings.ReplaceAll(info.Title, "'", "&#39;"),
			`href="https://kv.example/etcd/problems"`,
		} {
			if !strings.Contains(string(page), want) {
				t.Errorf("page of %s: got no %q", info.Code, want)
			}
		}
		if strings.Contains(string(page), "`") {
			t.Errorf("page of %s: a backtick was left standing", info.Code)
		}
		if link := `href="/problems/` + string(info.Code) + `"`; !strings.Contains(string(index), link) {
			t.Errorf("index: got no %s", link)
		}
	}
}

func TestProblemPagesEscape(t *testing.T) {
	t.Parallel()
	page, err := api.ProblemHTML(`"><script>`, problem.Info{Code: "x", Title: "<b>", About: "a `<i>` & <u>"})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script>", "<b>", "<i>", "<u>"} {
		if strings.Contains(string(page), bad) {
			t.Errorf("page: got %s unescaped", bad)
		}
	}
}

func TestProblemTableAsJSON(t *testing.T) {
	t.Parallel()
	text, err := api.ProblemIndexJSON()
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		Problems []struct {
			Code, Title, Outcome, About string
			Status                      int
			Close                       int `json:"close_code"`
			Retryable                   bool
		}
	}
	if err := json.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	if got, want := len(table.Problems), len(problem.Codes()); got != want {
		t.Fatalf("problems: got %d, want %d", got, want)
	}
	for i, info := range problem.Codes() {
		got := table.Problems[i]
		if got.Code != string(info.Code) || got.Status != info.Status || got.Close != info.Close || got.Title != info.Title ||
			got.Retryable != info.Retryable || got.Outcome != string(info.Outcome) || got.About != info.About {
			t.Errorf("problem %d: got %+v, want %+v", i, got, info)
		}
	}
}

// TestGeneratedProblemReference writes docs/reference/problems.md from the table.
func TestGeneratedProblemReference(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`# Problem codes

<!-- Made from internal/problem/codes.go by "go generate ./api"; a test holds it against the table. -->

Every error is ` + "`application/problem+json`" + ` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)) with one of these codes as ` + "`code`" + `;
a running gateway shows them under ` + "`/problems`" + `. The codes are stable, the texts may improve.

*Retry* says whether the same request can succeed later, unchanged. *Outcome* says what a write that fails so did, unless the
answer says otherwise: see [writes and their outcomes](../explanation/writes-and-outcomes.md). *Close* is the code with which
WebSocket connections end for this reason.

| Status | Code | Retry | Outcome | Close |
|---|---|---|---|---|
`)
	for _, p := range problem.Codes() {
		retry := "no"
		if p.Retryable {
			retry = "yes"
		}
		outcome := "–"
		if p.Outcome != "" {
			outcome = "`" + string(p.Outcome) + "`"
		}
		fmt.Fprintf(&b, "| %d | [`%s`](#%s) | %s | %s | %d |\n", p.Status, p.Code, p.Code, retry, outcome, p.Close)
	}
	for _, p := range problem.Codes() {
		fmt.Fprintf(&b, "\n## %s\n\n%s (%d). %s\n", p.Code, p.Title, p.Status, p.About)
	}
	golden(t, "../docs/reference/problems.md", []byte(b.String()))
}
