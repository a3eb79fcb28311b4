package handlers

import (
	"net/http"
	"strconv"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// rawType never changes: sniffing stored bytes into a type would let a value run as a page (Consul's CVE-2020-25864).
const rawType = "application/octet-stream"

// getRaw answers GET /v1/raw/{key}: the value's bytes as the body, the metadata in headers.
func (a *API) getRaw(c *call) error {
	key, read, err := c.readOne()
	if err != nil {
		return err
	}
	if err := c.query.Done(); err != nil {
		return err
	}
	answer, err := c.one(key, read)
	if err != nil {
		return err
	}
	defer answer.Free()
	kv, ok := answer.KVs.First()
	if !ok {
		if c.status == http.StatusNotModified { // a wait without a change
			return nil
		}
		return keyNotFound()
	}
	c.rawHeaders(key, kv)
	c.etag = kv.ModRevision
	if c.status == http.StatusNotModified || notModified(c.r.Header, kv.ModRevision) {
		c.status = http.StatusNotModified
		return nil
	}
	h := c.w.Header()
	set(h, "X-Content-Type-Options", "nosniff")
	set(h, "Content-Security-Policy", "sandbox")
	c.contentType = rawType
	c.body = append(c.body, kv.Value...)
	return nil
}

// rawHeaders names the key acted on and its metadata.
func (c *call) rawHeaders(key []byte, kv wire.KeyValue) {
	h := c.w.Header()
	set(h, "Etcd-Key", headerKey(key))
	set(h, "Etcd-Create-Revision", strconv.FormatInt(kv.CreateRevision, 10))
	set(h, "Etcd-Mod-Revision", strconv.FormatInt(kv.ModRevision, 10))
	set(h, "Etcd-Version", strconv.FormatInt(kv.Version, 10))
	if kv.Lease != 0 {
		set(h, "Etcd-Lease", formatID(kv.Lease))
	}
}

// headerKey spells a key for a header: percent-encoded as in a path, with slashes as they are.
func headerKey(key []byte) string {
	const hex = "0123456789ABCDEF"
	out := make([]byte, 0, len(key))
	for _, b := range key {
		if b > ' ' && b < 0x7f && b != '%' {
			out = append(out, b)
		} else {
			out = append(out, '%', hex[b>>4], hex[b&15])
		}
	}
	return string(out)
}

// putRaw answers PUT /v1/raw/{key}: the body's bytes become the value.
func (a *API) putRaw(c *call) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	w, err := c.writeOptions()
	if err != nil {
		return err
	}
	b := putBody{hasValue: true, ttl: c.query.Integer("ttl", 0, 1, maxTTL)}
	b.lease, _ = c.query.lease()
	b.ignoreLease = c.query.Boolean("ignore_lease")
	if count(b.lease != 0, b.ttl != 0, b.ignoreLease) > 1 {
		c.query.Fault("lease", problem.InvalidParameter, "give one of lease, ttl and ignore_lease")
	}
	if !announced(c.r) {
		return problem.New(problem.LengthRequired, "send Content-Length (0 for an empty value), or the body chunked")
	}
	if err := refuseContentEncoding(c.r.Header); err != nil {
		return err
	}
	if b.value, err = c.readAll(a.options.MaxValueBytes); err != nil {
		return err
	}
	return c.put(key, &b, w)
}

// announced tells whether an HTTP/1 request says how its body ends. Without it net/http takes the body as empty, and a
// client that forgot the header would store nothing in place of something.
func announced(r *http.Request) bool {
	return r.ProtoMajor >= 2 || r.ContentLength > 0 || len(r.TransferEncoding) > 0 || r.Header.Get("Content-Length") != ""
}

// maxTTL is etcd's largest TTL in seconds.
const maxTTL = 9_000_000_000
