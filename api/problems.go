package api

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"
	"strings"

	"github.com/etcdrest/etcdrest/internal/problem"
)

//go:embed problems.html
var problemsHTML string

// problemRow is one code of the table as the pages show it: the schema ProblemInfo of the contract.
type problemRow struct {
	Code      problem.Code    `json:"code"`
	Title     string          `json:"title"`
	Status    int             `json:"status"`
	Close     int             `json:"close_code,omitempty"`
	Retryable bool            `json:"retryable"`
	Outcome   problem.Outcome `json:"outcome,omitempty"`
	About     string          `json:"about"`
}

func rowOf(i problem.Info) problemRow {
	return problemRow{
		Code: i.Code, Title: i.Title, Status: i.Status, Close: i.Close, Retryable: i.Retryable, Outcome: i.Outcome, About: i.About,
	}
}

func rows() []problemRow {
	codes := problem.Codes()
	out := make([]problemRow, 0, len(codes))
	for _, info := range codes {
		out = append(out, rowOf(info))
	}
	return out
}

// problemPage is what the template shows: one code, or without one the table.
type problemPage struct {
	// Base is the prefix of the gateway's own URLs: its public URL, or empty.
	Base string
	One  *problemRow
	All  []problemRow
}

// ProblemHTML gives the page of one code. base is the prefix of the links: the gateway's public URL, or empty.
func ProblemHTML(base string, info problem.Info) ([]byte, error) {
	row := rowOf(info)
	return render(problemPage{Base: base, One: &row})
}

// ProblemIndexHTML gives the page that lists every code.
func ProblemIndexHTML(base string) ([]byte, error) {
	return render(problemPage{Base: base, All: rows()})
}

// ProblemJSON gives one code as the schema ProblemInfo.
func ProblemJSON(info problem.Info) ([]byte, error) { return jsonLine(rowOf(info)) }

// ProblemIndexJSON gives every code as the schema ProblemTable.
func ProblemIndexJSON() ([]byte, error) {
	return jsonLine(struct {
		Problems []problemRow `json:"problems"`
	}{rows()})
}

func jsonLine(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	return append(b, '\n'), err
}

func render(p problemPage) ([]byte, error) {
	page, err := template.New("problems").Funcs(template.FuncMap{"prose": prose}).Parse(problemsHTML)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := page.Execute(&b, p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// prose turns the backticks of a text into code elements; everything else is escaped.
func prose(text string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(text, "`") {
		part = template.HTMLEscapeString(part)
		if i%2 == 1 {
			part = "<code>" + part + "</code>"
		}
		b.WriteString(part)
	}
	return template.HTML(b.String()) //nolint:gosec // every part is escaped above
}
