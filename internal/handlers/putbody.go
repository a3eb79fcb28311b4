package handlers

import (
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// fields are the members of the body of a PUT. The value may have maxValueBytes once it is decoded, which check enforces:
// a text of escapes is six times as long as what it says.
func (b *putBody) fields(maxValueBytes int64) []kvjson.Field {
	b.maxValue = maxValueBytes
	return []kvjson.Field{
		kvjson.Value("value", &b.value).Given(&b.hasValue),
		kvjson.ID("lease", &b.lease).Given(&b.hasLease),
		kvjson.Int("ttl", &b.ttl).Between(1, maxTTL),
		kvjson.Bool("ignore_value", &b.ignoreValue),
		kvjson.Bool("ignore_lease", &b.ignoreLease),
	}
}

// check refuses contradictions that etcd would refuse later or resolve silently, and a value that is too large. Pointers
// are those of a body that is the whole document; under moves them.
func (b *putBody) check() error {
	switch {
	case b.ignoreValue && b.hasValue:
		return problem.New(problem.InvalidArgument, "ignore_value keeps the present value, so no value may be given").AtPointer("/ignore_value")
	case !b.ignoreValue && !b.hasValue:
		return problem.New(problem.InvalidArgument, "give the value as value, value_base64 or value_json").AtPointer("/value")
	case b.hasLease && b.lease == 0:
		return problem.New(problem.InvalidArgument, "a lease's id is not 0; leave lease out for a key without one").AtPointer("/lease")
	case count(b.lease != 0, b.ttl != 0, b.ignoreLease) > 1:
		return problem.New(problem.InvalidArgument, "give one of lease, ttl and ignore_lease").AtPointer("/lease")
	case b.maxValue > 0 && int64(len(b.value)) > b.maxValue:
		return valueTooLarge(b.maxValue).AtPointer("/value")
	}
	return nil
}

func valueTooLarge(limit int64) *problem.Error {
	return problem.New(problem.RequestTooLarge, "a value may have at most %d bytes", limit).With("limit", limit)
}

// under moves the places that an error names below the pointer of what was checked.
func under(pointer string, err error) error {
	e := *problem.From(err)
	e.Fields = append([]problem.Field(nil), e.Fields...)
	for i := range e.Fields {
		if e.Fields[i].Parameter == "" {
			e.Fields[i].Pointer = pointer + e.Fields[i].Pointer
		}
	}
	return &e
}
