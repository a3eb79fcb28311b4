package handlers

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// errLineTooLong is a line beyond the reader's limit. What follows cannot be told apart from its rest.
var errLineTooLong = errors.New("the line is too long")

// lineReader cuts a body into lines of bounded length, in memory that does not grow with the body.
type lineReader struct {
	in *bufio.Reader
	// limit is the most bytes of a line, without its end.
	limit int
	// number is that of the line that next gave last; the first one is 1.
	number int64
}

func newLineReader(in io.Reader, limit int64) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(in, 64<<10), limit: int(min(limit, 1<<30))}
}

// next gives the next line that is not blank, without its end, in memory of its own. The last line may lack its end.
// After the last line the error is io.EOF.
func (l *lineReader) next() ([]byte, error) {
	for {
		line, err := l.line()
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(line)) > 0 {
			return line, nil
		}
	}
}

func (l *lineReader) line() ([]byte, error) {
	var line []byte
	for {
		part, err := l.in.ReadSlice('\n')
		if len(line) == 0 && len(part) > 0 {
			l.number++
		}
		line = append(line, part...)
		if len(bytes.TrimSuffix(line, []byte{'\n'})) > l.limit {
			return nil, errLineTooLong
		}
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) > 0:
			return line, nil
		default:
			return nil, err
		}
	}
}

// appendKVLine appends a line of type kv: the members of the key-value stand beside the type.
func appendKVLine(dst []byte, kv wire.KeyValue, o kvjson.Options) []byte {
	dst = append(dst, `{"type":"kv"`...)
	brace := len(dst)
	dst = kvjson.AppendKeyValue(dst, kv, o)
	dst[brace] = ','
	return append(dst, '\n')
}
