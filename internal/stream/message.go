package stream

import (
	"maps"
	"strconv"
	"time"

	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// The messages, as contract and asyncapi.yaml have them, each without its opening brace: a transport puts that in front, and
// the id of the watch where a socket has many.

func createdAt(revision int64, epoch string) []byte {
	dst := []byte(`"type":"created","revision":`)
	dst = strconv.AppendInt(dst, revision, 10)
	dst = append(dst, `,"epoch":`...)
	dst = kvjson.AppendString(dst, []byte(epoch))
	return append(dst, '}')
}

func appendRevision(dst []byte, kind string, revision int64) []byte {
	dst = append(dst, `"type":"`...)
	dst = append(dst, kind...)
	dst = append(dst, `","revision":`...)
	dst = strconv.AppendInt(dst, revision, 10)
	return append(dst, '}')
}

// appendEvents appends the message of one revision; array is its text.
func appendEvents(dst []byte, revision int64, array []byte) []byte {
	dst = append(dst, `"type":"events","revision":`...)
	dst = strconv.AppendInt(dst, revision, 10)
	dst = append(dst, `,"events":`...)
	dst = append(dst, array...)
	return append(dst, '}')
}

// appendReset appends the message that has a subscriber forget what it has; reason is the code of the problem behind it.
func appendReset(dst []byte, reason problem.Code) []byte {
	dst = append(dst, `"type":"reset","reason":"`...)
	dst = append(dst, reason...)
	return append(dst, '"', '}')
}

const (
	messageEnd = `"type":"end"}`
	// messageBeat is what is said while a snapshot is waited for: it has nothing, and promises nothing.
	messageBeat = `"type":"snapshot","kvs":[]}`
)

// appendError appends the message that ends a watch: the problem with the revision to resume behind, when there is one.
func (h *Hub) appendError(dst []byte, e *problem.Error, requestID string, delivered int64) []byte {
	if delivered > 0 {
		c := *e
		c.Extra = map[string]any{}
		maps.Copy(c.Extra, e.Extra)
		c.Extra["revision"] = delivered // also where the problem names one of its own, which a client must not resume behind
		e = &c
	}
	dst = append(dst, `"type":"error","error":`...)
	dst, _ = problem.Document{Base: h.options.PublicURL, RequestID: requestID}.Append(dst, e) // the extensions are numbers and texts of our own
	return append(dst, '}')
}

// comeBack is how long a client is told to wait: what many are told must not be the same.
func comeBack() time.Duration { return mostRetry/10 + jitter(mostRetry-mostRetry/10) }
