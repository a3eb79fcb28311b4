package api

import (
	_ "embed"
	"encoding/json"
	"net/url"
	"strings"
)

//go:embed asyncapi.yaml
var asyncYAML string

// AsyncYAML gives the streams' contract with publicURL as its servers; empty leaves the default listener. The caller owns
// the bytes.
func AsyncYAML(publicURL string) []byte {
	public, err := url.Parse(publicURL)
	if err != nil || public.Host == "" {
		return []byte(asyncYAML)
	}
	host := "host: " + quoted(public.Host)
	if path := strings.TrimSuffix(public.Path, "/"); path != "" {
		host += "\n    pathname: " + quoted(path)
	}
	replaced := []string{"host: " + strings.TrimPrefix(defaultServer, "http://"), host}
	if public.Scheme == "https" {
		replaced = append(replaced, "protocol: ws\n", "protocol: wss\n", "protocol: http\n", "protocol: https\n")
	}
	return []byte(strings.NewReplacer(replaced...).Replace(asyncYAML))
}

// quoted gives the text as a JSON string, which is a YAML scalar too.
func quoted(text string) string {
	out, err := json.Marshal(text)
	if err != nil { // no string fails to marshal
		return `""`
	}
	return string(out)
}
