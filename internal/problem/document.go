package problem

import "encoding/json"

// Document is what the written form of a problem (RFC 9457, with the extensions of the contract) needs besides the error.
type Document struct {
	// Base is put in front of the type's path: the public URL, or nothing.
	Base string
	// RequestID is that of the request, or of the socket, that met the problem.
	RequestID string
	// Write says that the request could change the store, so that its outcome is told.
	Write bool
}

// document gives the members their order.
type document struct {
	Type         string  `json:"type"`
	Title        string  `json:"title"`
	Status       int     `json:"status"`
	Code         Code    `json:"code"`
	Detail       string  `json:"detail"`
	Hint         string  `json:"hint,omitempty"`
	Retryable    bool    `json:"retryable"`
	Outcome      Outcome `json:"outcome,omitempty"`
	RetryAfterMs int64   `json:"retry_after_ms,omitempty"`
	RequestID    string  `json:"request_id"`
	GRPCCode     uint32  `json:"grpc_code,omitempty"`
	GRPCMessage  string  `json:"grpc_message,omitempty"`
	Errors       []fault `json:"errors,omitempty"`
}

type fault struct {
	Pointer   *string `json:"pointer,omitempty"`
	Parameter string  `json:"parameter,omitempty"`
	Code      Code    `json:"code"`
	Detail    string  `json:"detail"`
}

// Append appends the problem as one JSON object. The error says that an extension member could not be written; the object
// is then there without the extensions.
func (d Document) Append(dst []byte, e *Error) ([]byte, error) {
	text, err := marshal(d.of(e), e.Extra)
	if err != nil {
		text, _ = marshal(d.of(e), nil)
	}
	return append(dst, text...), err
}

func (d Document) of(e *Error) document {
	info := e.Code.Info()
	out := document{
		Type: d.Base + "/problems/" + string(info.Code), Title: info.Title, Status: info.Status, Code: info.Code,
		Detail: e.Detail, Hint: e.Hint, Retryable: info.Retryable, RequestID: d.RequestID,
		RetryAfterMs: e.RetryAfter.Milliseconds(), GRPCCode: e.GRPCCode, GRPCMessage: e.GRPCMessage,
	}
	if d.Write {
		if out.Outcome = e.Outcome; out.Outcome == "" {
			out.Outcome = info.Outcome
		}
	}
	for _, f := range e.Fields {
		place := fault{Parameter: f.Parameter, Code: f.Code, Detail: f.Detail}
		if f.Parameter == "" {
			place.Pointer = &f.Pointer
		}
		out.Errors = append(out.Errors, place)
	}
	return out
}

// marshal writes the document and the extensions as one object.
func marshal(d document, extra map[string]any) ([]byte, error) {
	text, err := json.Marshal(d)
	if err != nil || len(extra) == 0 {
		return text, err
	}
	more, err := json.Marshal(extra)
	if err != nil {
		return nil, err
	}
	return append(append(text[:len(text)-1], ','), more[1:]...), nil
}
