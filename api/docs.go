package api

import (
	"embed"
	"path"
	"strings"
)

// docs holds the API reference: our page, script and style, and beside them Swagger UI as published, with its licence
// (see docs/README.md for how it is refreshed).
//
//go:embed docs
var docs embed.FS

// DocsPolicy is the Content-Security-Policy of the API reference: nothing but its own files and this gateway. Swagger UI
// sets inline styles.
const DocsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// DocsFile gives a file of the API reference by its name below /docs/, with its media type; the empty name is the page.
func DocsFile(name string) (file []byte, contentType string, ok bool) {
	if name == "" {
		name = "index.html"
	}
	// The page names its files as docs/…, which is right for /docs; for /docs/ a browser doubles the folder.
	name = strings.TrimPrefix(name, "docs/")
	file, err := docs.ReadFile("docs/" + name)
	contentType = docsType(path.Ext(name))
	return file, contentType, err == nil && contentType != ""
}

// docsType gives the media type of the kinds of files that the reference serves.
func docsType(extension string) string {
	switch extension {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".txt":
		return "text/plain; charset=utf-8"
	default:
		return ""
	}
}
