package handlers

import (
	"errors"
	"mime"
	"net/http"

	"github.com/etcdrest/etcdrest/internal/jsonpatch"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

const (
	mergePatchType = "application/merge-patch+json" // RFC 7396
	jsonPatchType  = "application/json-patch+json"  // RFC 6902

	// maxPatchTries is how often a patch is applied to the newest value before others' writes win.
	maxPatchTries = 16
)

// patchKey answers PATCH /v1/kv/{key}: the stored JSON document is changed by compare-and-swap and keeps its lease. What
// the patch does not name keeps its spelling and its order; insignificant white space goes.
func (a *API) patchKey(c *call) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	w, err := c.writeOptions()
	if err != nil {
		return err
	}
	if err := c.query.Done(); err != nil {
		return err
	}
	change, err := c.readPatch()
	if err != nil {
		return err
	}
	seen, exists, err := c.rehearse(key, w)
	if err != nil {
		return err
	}
	for range maxPatchTries {
		if !exists {
			return c.notApplied(keyNotFound())
		}
		value, err := c.applyPatch(change, seen.Value)
		if err != nil {
			return c.notApplied(err)
		}
		if w.dryRun {
			return c.dryPatch(key, seen, w)
		}
		done, err := c.swap(key, seen, value, w)
		if err != nil || !done.refused {
			return err
		}
		// Somebody else wrote first. The refusal shows the key as it is now, and so whether the caller's conditions still hold.
		seen, exists, err = c.judge(done, w)
		if err != nil {
			return err
		}
	}
	return problem.New(problem.Conflict, "others changed the key each of the %d times that the patch was applied", maxPatchTries)
}

// patchFunc gives the document after the patch.
type patchFunc func(document []byte) ([]byte, error)

// readPatch reads the body in one of the two media types.
func (c *call) readPatch() (patchFunc, error) {
	if err := refuseContentEncoding(c.r.Header); err != nil {
		return nil, err
	}
	media, params, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || (media != mergePatchType && media != jsonPatchType) || !utf8Charset(params["charset"]) {
		return nil, problem.New(problem.UnsupportedMediaType, "send a patch as %s (RFC 7396) or %s (RFC 6902)", mergePatchType, jsonPatchType).
			AtParameter("Content-Type")
	}
	body, err := c.readAll(c.api.options.MaxBodyBytes)
	if err != nil {
		return nil, err
	}
	var patch []byte
	err = kvjson.DecodeFunc(body, func(d *kvjson.Decoder) (err error) {
		patch, err = d.Document()
		return err
	})
	if err != nil {
		return nil, err
	}
	if media == mergePatchType {
		return func(document []byte) ([]byte, error) { return jsonpatch.Merge(document, patch), nil }, nil
	}
	parsed, err := jsonpatch.Parse(patch)
	if err != nil {
		return nil, patchProblem(err)
	}
	return parsed.Apply, nil
}

// patchProblem codes the errors of a JSON patch; the place is the one in the patch.
func patchProblem(err error) error {
	code, pointer, detail := problem.InvalidArgument, "", err.Error()
	switch {
	case errors.Is(err, jsonpatch.ErrFailed):
		code = problem.PatchFailed
	case errors.Is(err, jsonpatch.ErrTooLarge):
		code = problem.RequestTooLarge
	}
	if fault, ok := errors.AsType[*jsonpatch.OperationError](err); ok {
		pointer, detail = fault.Pointer(), fault.Detail
	}
	return problem.New(code, "%s", detail).AtPointer(pointer)
}

// applyPatch gives the new value. The stored one must be one JSON document, without duplicate members.
func (c *call) applyPatch(change patchFunc, stored []byte) ([]byte, error) {
	document, ok := kvjson.CompactJSON(nil, stored)
	if !ok {
		return nil, problem.New(problem.NotJSON, "the stored value is not one JSON document, or has duplicate members, or is nested deeper than %d",
			kvjson.MaxDocumentDepth)
	}
	value, err := change(document)
	if err != nil {
		return nil, patchProblem(err)
	}
	if limit := c.api.options.MaxValueBytes; int64(len(value)) > limit {
		return nil, problem.New(problem.RequestTooLarge, "the patched value would have %d bytes; a value may have %d", len(value), limit).
			With("limit", limit)
	}
	return value, nil
}

// swap writes the value if the key still is what was seen. The caller's conditions on the key speak of its mod revision
// only, and held for the one seen, so beside it only the lock is asked for again.
func (c *call) swap(key []byte, seen wire.KeyValue, value []byte, w writeOptions) (*planned, error) {
	one := condition{given: true, anyOf: []int64{seen.ModRevision}, lockKey: w.lockKey, lockToken: w.lockToken}
	p := guardPlan(&one, key, 0)
	p.ops = []wire.Op{{Put: &wire.PutRequest{Key: key, Value: value, IgnoreLease: true, PrevKV: w.prevKV}}}
	return c.commit(&p, func(done *planned) error {
		kv := seen
		kv.ModRevision, kv.Version = done.revision(), seen.Version+1
		c.putMembers(key, kv, false, 0, done.results[0].Put, w)
		return nil
	})
}

// judge looks at what a swap that was refused has read: the conditions of the caller that do not hold any more refuse the
// patch; else it is applied again to what is there now.
func (c *call) judge(done *planned, w writeOptions) (kv wire.KeyValue, exists bool, err error) {
	if len(done.results) == 0 || done.results[0].Range == nil {
		return kv, false, unreadable()
	}
	kv, exists = done.results[0].Range.KVs.First()
	if !w.holds(kv, exists) || (w.lockKey != nil && !lockHolds(&w.condition, done)) {
		return kv, exists, c.refusal(&w.condition, done, w.encoding)
	}
	return kv, exists, nil
}

// holds tells whether the demands on the key are met by what it is.
func (d *condition) holds(kv wire.KeyValue, exists bool) bool {
	if (d.absent && exists) || (d.exists && !exists) {
		return false
	}
	met := !d.given
	for _, revision := range d.anyOf {
		met = met || (exists && kv.ModRevision == revision)
	}
	return met
}

// dryPatch says what the patch, which fits, would do.
func (c *call) dryPatch(key []byte, seen wire.KeyValue, w writeOptions) error {
	c.status = http.StatusOK
	c.openObject()
	c.keyMember(key, w.encoding)
	c.intMember("create_revision", seen.CreateRevision)
	c.intMember("mod_revision", 0)
	c.intMember("version", seen.Version+1)
	c.boolMember("created", false)
	if seen.Lease != 0 {
		c.leaseMember(seen.Lease)
	}
	if w.prevKV {
		c.prevKV(seen, w.encoding)
	}
	c.boolMember("dry_run", true)
	c.closeObject()
	return nil
}
