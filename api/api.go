// Package api is the contract of the native API: openapi.yaml, its JSON twin, the API reference that shows it, the
// streams' asyncapi.yaml, and the pages of its problem codes. Everything is embedded, so that a gateway needs nothing beside its binary.
package api

import (
	_ "embed"
	"strings"
)

// openapi.json, docs/reference/problems.md and web/src/client/contract.ts of the repository are made by tests, which
// otherwise hold them to their source.
//go:generate go test -run=TestGenerated . -update

//go:embed openapi.yaml
var specYAML string

//go:embed openapi.json
var specJSON string

// defaultServer is the one server that the contract names.
const defaultServer = "http://127.0.0.1:8379"

// YAML gives the contract with publicURL as its server; empty leaves the default listener. The caller owns the bytes.
func YAML(publicURL string) []byte {
	return []byte(withServer(specYAML, "url: "+defaultServer, "url: ", publicURL))
}

// JSON gives the same contract as JSON, members in the order of the YAML. The caller owns the bytes.
func JSON(publicURL string) []byte {
	return []byte(withServer(specJSON, `"url":"`+defaultServer+`"`, `"url":`, publicURL))
}

// withServer replaces the server's member in the text.
func withServer(spec, member, name, publicURL string) string {
	if publicURL == "" {
		return spec
	}
	return strings.Replace(spec, member, name+quoted(publicURL), 1)
}
