package compat

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// plain is the client as etcd's own gateway has it. The gateway's client names the coding of its messages in each request, and
// etcd echoes that; callers of /v3 see the echo as headers.
type plain struct{ grpc.ClientConnInterface }

// Invoke implements grpc.ClientConnInterface.
func (p plain) Invoke(ctx context.Context, method string, request, answer any, opts ...grpc.CallOption) error {
	err := p.ClientConnInterface.Invoke(ctx, method, request, answer, opts...)
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			unnamed(*o.HeaderAddr)
		case grpc.TrailerCallOption:
			unnamed(*o.TrailerAddr)
		}
	}
	return err
}

// NewStream implements grpc.ClientConnInterface.
func (p plain) NewStream(ctx context.Context, d *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := p.ClientConnInterface.NewStream(ctx, d, method, opts...)
	if err != nil {
		return nil, err
	}
	return plainStream{s}, nil
}

type plainStream struct{ grpc.ClientStream }

// Header implements grpc.ClientStream.
func (s plainStream) Header() (metadata.MD, error) {
	md, err := s.ClientStream.Header()
	unnamed(md)
	return md, err
}

func unnamed(md metadata.MD) {
	const kind = "content-type"
	if values := md[kind]; len(values) == 1 && values[0] == "application/grpc+proto" {
		md[kind] = []string{"application/grpc"}
	}
}
