package contract

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// tap passes a body on as it is read and shows it to a check: each piece as it comes, and the end when it is whole.
type tap struct {
	io.ReadCloser

	piece func([]byte)
	// end is called once, at a clean end. A body that is cut or closed early says nothing about the contract.
	end  func()
	done bool
}

// Read reads on.
func (b *tap) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.piece(p[:n])
	}
	if errors.Is(err, io.EOF) && !b.done {
		b.done = true
		b.end()
	}
	return n, err
}

// jsonBody checks a body that is one JSON document.
func (x *exchange) jsonBody(check func(doc any)) {
	var whole bytes.Buffer
	x.answer.Body = &tap{ReadCloser: x.answer.Body, piece: func(p []byte) { whole.Write(p) }, end: func() {
		text := whole.Bytes()
		if x.answer.Header.Get("Content-Encoding") == "gzip" {
			var err error
			if text, err = gunzip(text); err != nil {
				x.fail("the body cannot be unpacked: %v", err)
				return
			}
		}
		if n := len(text); n == 0 || text[n-1] != '\n' {
			x.fail("the body does not end with a newline")
		}
		doc, err := decode(text)
		if err != nil {
			x.fail("the body is not JSON: %v: %.200q", err, text)
			return
		}
		check(doc)
	}}
}

func gunzip(text []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// decode reads one JSON document with its numbers as they are spelled.
func decode(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var doc any
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, errors.New("data after the document")
	}
	return doc, nil
}

// lineBody checks an NDJSON body line by line; only the line under way is kept.
func (x *exchange) lineBody(line *openapi3.Schema) {
	var rest []byte
	number, last := 0, ""
	check := func(text []byte) {
		number++
		if last == "end" || last == "error" {
			x.fail("line %d follows the last line, of type %s", number, last)
		}
		doc, err := decode(text)
		if err != nil {
			x.fail("line %d is not JSON: %v: %.200q", number, err, text)
			return
		}
		object, _ := doc.(map[string]any)
		last, _ = object["type"].(string)
		if last == "error" {
			x.problem(object["error"], x.codes(), false)
		}
		x.documentAt(fmt.Sprintf("line %d", number), line, doc)
	}
	x.answer.Body = &tap{ReadCloser: x.answer.Body, piece: func(p []byte) {
		for {
			text, after, whole := bytes.Cut(p, []byte{'\n'})
			rest = append(rest, text...)
			if !whole {
				return
			}
			check(rest)
			rest, p = rest[:0], after
		}
	}, end: func() {
		if len(rest) > 0 {
			x.fail("the last line has no newline: %.200q", rest)
		}
		if last != "end" && last != "error" {
			x.fail("the stream ended after a line of type %q; the last one must be end or error", last)
		}
	}}
}

func (x *exchange) document(schema *openapi3.Schema, doc any) { x.documentAt("the body", schema, doc) }

// documentAt validates a JSON document, and the rule that schemas cannot say: of the forms of one thing there is one.
func (x *exchange) documentAt(where string, schema *openapi3.Schema, doc any) {
	if schema == nil {
		x.fail("%s: the contract does not describe it", where)
		return
	}
	if err := schema.VisitJSON(doc, openapi3.MultiErrors(), openapi3.VisitAsResponse()); err != nil {
		x.fail("%s is not what the contract describes: %s\n%.2000v", where, reason(err), doc)
	}
	if schema.Type != nil || len(schema.OneOf) > 0 { // any JSON may have any names
		x.oneForm(where, doc)
	}
}

// oneForm walks the document for objects that give one thing in two forms.
func (x *exchange) oneForm(where string, doc any) {
	switch d := doc.(type) {
	case map[string]any:
		for _, forms := range [][]string{{"key", "key_base64"}, {"value", "value_base64", "value_json"}, {"prefix", "prefix_base64"}, {"name", "name_base64"}, {"owner_key", "owner_key_base64"}} {
			given := 0
			for _, form := range forms {
				if _, ok := d[form]; ok {
					given++
				}
			}
			if given > 1 {
				x.fail("%s: more than one of %v is given", where, forms)
			}
		}
		for name, member := range d {
			if name != "value_json" {
				x.oneForm(where, member)
			}
		}
	case []any:
		for _, element := range d {
			x.oneForm(where, element)
		}
	}
}

// reason shortens a schema's error to what is wrong and where.
func reason(err error) string {
	if many, ok := errors.AsType[openapi3.MultiError](err); ok {
		texts := make([]string, 0, len(many))
		for _, e := range many {
			texts = append(texts, reason(e))
		}
		return strings.Join(texts, "; ")
	}
	if one, ok := errors.AsType[*openapi3.SchemaError](err); ok {
		return fmt.Sprintf("at /%s: %s", strings.Join(one.JSONPointer(), "/"), one.Reason)
	}
	return err.Error()
}
