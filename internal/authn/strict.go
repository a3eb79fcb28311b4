package authn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxDepth is how deep the JSON of a token may nest.
const maxDepth = 16

// strictObject reads one JSON object with nothing beside it. Unlike encoding/json it takes no member twice at any depth, no
// invalid UTF-8 and no lone surrogate, so that everybody who reads the text reads the same. Numbers are json.Number.
func strictObject(text []byte) (map[string]any, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("it is not UTF-8")
	}
	if loneSurrogate(text) {
		return nil, errors.New("it holds half of a surrogate pair")
	}
	if !json.Valid(text) {
		return nil, errors.New("it is not JSON")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	value, err := strictValue(d, 0)
	if err != nil {
		return nil, err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("it is not a JSON object")
	}
	return object, nil
}

func strictValue(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("it nests too deep")
	}
	token, err := d.Token()
	if err != nil {
		return nil, fmt.Errorf("it is not JSON: %w", err)
	}
	switch token {
	case json.Delim('{'):
		return strictMembers(d, depth)
	case json.Delim('['):
		return strictItems(d, depth)
	default:
		return token, nil
	}
}

func strictMembers(d *json.Decoder, depth int) (map[string]any, error) {
	object := make(map[string]any)
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("it is not JSON: %w", err)
		}
		name, ok := token.(string)
		if !ok {
			return nil, errors.New("a member has no name")
		}
		if _, twice := object[name]; twice {
			return nil, errors.New("a member is there twice")
		}
		if object[name], err = strictValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	return object, end(d)
}

func strictItems(d *json.Decoder, depth int) ([]any, error) {
	items := []any{}
	for d.More() {
		item, err := strictValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, end(d)
}

// end takes the closing bracket.
func end(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("it is not JSON: %w", err)
	}
	return nil
}

// loneSurrogate finds an escape such as \ud800 without its other half, which encoding/json would replace without a word.
func loneSurrogate(text []byte) bool {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		i++ // whatever is escaped, a second backslash too
		high := escapedUnit(text[i-1:])
		if high < 0xd800 || high > 0xdfff {
			continue
		}
		if i+5 > len(text) {
			return true
		}
		low := escapedUnit(text[i+5:])
		if high > 0xdbff || low < 0xdc00 || low > 0xdfff {
			return true
		}
		i += 10
	}
	return false
}

// escapedUnit is the UTF-16 unit of a \uXXXX at the beginning of text, 0 when there is none.
func escapedUnit(text []byte) (unit rune) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0
	}
	for _, c := range text[2:6] {
		unit <<= 4
		switch {
		case c >= '0' && c <= '9':
			unit |= rune(c - '0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			unit |= rune(c|0x20-'a') + 10
		default:
			return 0
		}
	}
	return unit
}
