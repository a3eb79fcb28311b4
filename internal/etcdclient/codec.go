package etcdclient

import (
	"errors"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// frame is a message that stays bytes: a request that was encoded by package wire, or an answer that it will read.
type frame struct {
	buffer mem.Buffer
	// from is the connection that an answer came on.
	from *conn
}

// smallFrame is the least room that a request's buffer has: below gRPC's pooling threshold buffers are not recycled.
const smallFrame = 4 << 10

// encode appends the request to a pooled buffer, which the caller frees; hint is the size to expect.
func encode(r wire.Request, hint int) frame {
	b := buffers.Get(max(hint, smallFrame))
	*b = r.AppendTo((*b)[:0])
	return frame{buffer: mem.NewBuffer(b, buffers)}
}

func (f *frame) len() int { return f.buffer.Len() }

func (f *frame) free() {
	if f.buffer != nil {
		f.buffer.Free()
		f.buffer = nil
	}
}

// codec passes frames through untouched and leaves messages to gRPC's own protobuf codec.
type codec struct{ messages encoding.CodecV2 }

func newCodec() codec { return codec{messages: encoding.GetCodecV2(proto.Name)} }

// Name is the content subtype: a frame is protobuf like any other message.
func (codec) Name() string { return proto.Name }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return c.messages.Marshal(v)
	}
	if f.buffer == nil {
		return nil, errors.New("an empty frame cannot be sent")
	}
	f.buffer.Ref() // gRPC frees what it is given; the caller keeps its own for a repeat
	return mem.BufferSlice{f.buffer}, nil
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return c.messages.Unmarshal(data, v)
	}
	f.free()
	f.buffer = data.MaterializeToBuffer(buffers)
	return nil
}
