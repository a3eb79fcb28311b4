package handlers

import (
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// acceptJSON refuses bodies that are not JSON by their type. The form type is what `curl -d` sends, so it passes; the
// types that a page can send across sites without asking first (text/plain, multipart) do not.
func acceptJSON(h http.Header) error { return acceptType(h, "application/json") }

func acceptType(h http.Header, want string, alsoOK ...string) error {
	if err := refuseContentEncoding(h); err != nil {
		return err
	}
	values := h["Content-Type"]
	if len(values) == 0 || values[0] == "" || values[0] == want {
		return nil
	}
	media, params, err := mime.ParseMediaType(values[0])
	if err == nil && utf8Charset(params["charset"]) {
		if media == want || strings.HasSuffix(media, "+json") || media == "application/x-www-form-urlencoded" {
			return nil
		}
		if slices.Contains(alsoOK, media) {
			return nil
		}
	}
	return problem.New(problem.UnsupportedMediaType, "send the body as %s (UTF-8)", strings.Join(append([]string{want}, alsoOK...), " or ")).
		AtParameter("Content-Type")
}

func utf8Charset(charset string) bool { return charset == "" || strings.EqualFold(charset, "utf-8") }

func refuseContentEncoding(h http.Header) error {
	if e := h.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return problem.New(problem.UnsupportedMediaType, "send the body as it is, without Content-Encoding").AtParameter("Content-Encoding")
	}
	return nil
}

// readAll reads a body of at most limit bytes, within the call's time. An announced length beyond the limit is refused
// before a byte is read.
func readAll(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	rc := http.NewResponseController(w)
	if deadline, ok := r.Context().Deadline(); ok {
		_ = rc.SetReadDeadline(deadline) // not every writer has deadlines (tests)
	}
	body, err := readBounded(http.MaxBytesReader(w, r.Body, limit), r.ContentLength)
	if err != nil { // the deadline stays: net/http would wait for the rest of the body before it answers
		return nil, bodyError(err)
	}
	_ = rc.SetReadDeadline(time.Time{}) // net/http goes on reading, to see whether the caller leaves
	return body, nil
}

// firstRead is what is set aside for a body before any of it has come: memory follows the bytes that arrive, not those
// that are announced.
const firstRead = 64 << 10

// readBounded reads a body of a length that was announced, or to its end when the length is -1.
func readBounded(body io.Reader, length int64) ([]byte, error) {
	if length >= 0 && length <= firstRead {
		b := make([]byte, length)
		_, err := io.ReadFull(body, b)
		return b, err
	}
	b, err := io.ReadAll(body)
	if err == nil && int64(len(b)) < length {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

func tooLarge(limit int64) *problem.Error {
	return problem.New(problem.RequestTooLarge, "the body may have at most %d bytes", limit).With("limit", limit)
}

func bodyError(err error) error {
	if over, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(over.Limit)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return problem.New(problem.DeadlineExceeded, "the body did not arrive within the request's time").
			WithOutcome(problem.NotApplied).Because(err)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return problem.New(problem.InvalidArgument, "the body is shorter than its Content-Length").Because(err)
	}
	if p := problem.From(err); p.Code != problem.Internal {
		return err
	}
	return problem.New(problem.InvalidArgument, "the body could not be read").Because(err)
}

// gzipMinBytes is the size from which an answer without an entity tag is worth compressing.
const gzipMinBytes = 16 << 10

// acceptsGzip reads Accept-Encoding; a coding is refused by q=0.
func acceptsGzip(h http.Header) bool {
	for _, value := range h["Accept-Encoding"] {
		for part := range strings.SplitSeq(value, ",") {
			coding, params, _ := strings.Cut(strings.TrimSpace(part), ";")
			if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				q := strings.ReplaceAll(strings.TrimSpace(params), " ", "")
				return q != "q=0" && q != "q=0.0" && q != "q=0.00" && q != "q=0.000"
			}
		}
	}
	return false
}

var gzips = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // the level is valid
	return w
}}

// writeGzip writes the whole answer compressed.
func (c *call) writeGzip() {
	h := c.w.Header()
	set(h, "Content-Encoding", "gzip")
	h.Add("Vary", "Accept-Encoding")
	c.w.WriteHeader(c.status)
	if c.r.Method == http.MethodHead {
		return
	}
	z, _ := gzips.Get().(*gzip.Writer)
	paced := &pacedWriter{w: c.w, left: c.left()}
	z.Reset(paced)
	_, _ = z.Write(c.body) // the caller may be gone
	_ = z.Close()
	gzips.Put(z)
	c.written = paced.n
}

// pacedWriter counts what goes to the caller, who has the write time-out for each piece: one that reads nothing must not
// hold the connection for ever, and one that reads slowly gets all of a large answer.
type pacedWriter struct {
	w    http.ResponseWriter
	left bool // the caller has
	n    int64
}

// left tells whether the caller has gone away, or reset the stream. Over HTTP/2 such a stream gets no deadline: net/http would
// keep it until then, and there can be ten thousand a second of them (CVE-2025-8671).
func (c *call) left() bool { return c.received.Context().Err() != nil }

// pieceBytes is how much a caller must take within the write time-out.
const pieceBytes = 256 << 10

// Write implements io.Writer.
func (p *pacedWriter) Write(b []byte) (written int, err error) {
	control := http.NewResponseController(p.w)
	for len(b) > 0 && err == nil {
		if !p.left {
			_ = control.SetWriteDeadline(time.Now().Add(writeTimeout)) // not every writer has deadlines (tests)
		}
		var n int
		n, err = p.w.Write(b[:min(len(b), pieceBytes)])
		written, b = written+n, b[n:]
	}
	p.n += int64(written)
	return written, err
}
