// Package jsonpatch changes JSON text by a merge patch (RFC 7396) or a JSON patch (RFC 6902) and leaves what the patch does
// not name as it was written: numbers and strings keep their spelling, members their order; what is new comes last.
//
// Documents and patches must be valid JSON without insignificant white space and duplicate members, as
// kvjson.CompactJSON gives it; other text is refused or leads to a nonsensical result, but never to a panic. The
// functions keep no state and can run concurrently. A result may alias what it was made from.
//
// It is the gateway's own because the library of the field, evanphx/json-patch v5.9, loses data that a stored value must
// not lose: a merge patch {"a":[{"b":null}]} stores {"a":[{}]} there, against RFC 7396, which takes arrays as they are.
// It also compares numbers by their text and refuses documents that are not objects or arrays.
package jsonpatch

import (
	"errors"
	"fmt"
)

// The errors of Parse and Apply; what they return wraps one of them.
var (
	// ErrInvalid means that the patch is not one: an unknown operation, a member missing, a malformed pointer.
	ErrInvalid = errors.New("the patch is not valid")
	// ErrFailed means that the patch does not fit the document: a test failed, or a place does not exist.
	ErrFailed = errors.New("the patch does not fit the document")
	// ErrTooLarge means that applying the patch would copy, compare or move more than is reasonable for one document.
	ErrTooLarge = errors.New("the patch makes too much of the document")
)

// OperationError is an error of one operation of a JSON patch.
type OperationError struct {
	// Index is the operation's position in the patch.
	Index int
	// Member is the operation's member at fault: op, path, from or value.
	Member string
	// Detail is the sentence for people. It quotes nothing of the document.
	Detail string

	kind error
}

// Error gives the position and the detail.
func (f *OperationError) Error() string {
	return fmt.Sprintf("operation %d: %s: %s", f.Index, f.Member, f.Detail)
}

// Unwrap gives the kind: ErrInvalid, ErrFailed or ErrTooLarge.
func (f *OperationError) Unwrap() error { return f.kind }

// Pointer is the JSON Pointer of the place in the patch.
func (f *OperationError) Pointer() string { return fmt.Sprintf("/%d/%s", f.Index, f.Member) }
