package embedetcd

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// failure is how a server ends by itself: at most one error is kept, the first.
type failure struct {
	c chan error // capacity 1; nobody closes it
	// fatal is set when etcd ended one of its own goroutines, so that it can no longer be closed in good order.
	fatal atomic.Bool
}

func (f *failure) report(err error) {
	select {
	case f.c <- err:
	default:
	}
}

// OnWrite makes failure the hook of zap's Fatal and Panic, which etcd calls for a damaged folder or a full disk: left
// alone, the first would end the process with code 1 and, in a quiet log, without a word.
func (f *failure) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	text := entry.Message
	encoder := zapcore.NewMapObjectEncoder()
	for _, field := range fields {
		field.AddTo(encoder)
	}
	if cause, ok := encoder.Fields["error"].(string); ok {
		text += ": " + cause
	}
	f.fatal.Store(true)
	f.report(errors.New(text))
	runtime.Goexit()
}

func logger(to *slog.Logger, died *failure) *zap.Logger {
	c := zapcore.NewNopCore()
	if to != nil {
		c = core{handler: to.Handler()}
	}
	return zap.New(c, zap.WithFatalHook(died), zap.WithPanicHook(died))
}

// core writes zap's entries to a slog handler.
type core struct{ handler slog.Handler }

// Enabled leaves out what etcd says for its own developers: those entries hold whole requests, with their values.
func (c core) Enabled(l zapcore.Level) bool {
	return l >= zapcore.InfoLevel && c.handler.Enabled(background(), level(l))
}

func (c core) With(fields []zapcore.Field) zapcore.Core {
	return core{handler: c.handler.WithAttrs(attrs(fields))}
}

func (c core) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

func (c core) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	record := slog.NewRecord(entry.Time, level(entry.Level), entry.Message, 0)
	record.AddAttrs(attrs(fields)...)
	return c.handler.Handle(background(), record)
}

func (c core) Sync() error { return nil }

func attrs(fields []zapcore.Field) []slog.Attr {
	encoder := zapcore.NewMapObjectEncoder()
	for _, field := range fields {
		field.AddTo(encoder)
	}
	out := make([]slog.Attr, 0, len(encoder.Fields))
	for name, value := range encoder.Fields {
		out = append(out, slog.Any(name, value))
	}
	slices.SortFunc(out, func(a, b slog.Attr) int { return strings.Compare(a.Key, b.Key) })
	return out
}

func level(l zapcore.Level) slog.Level {
	switch {
	case l <= zapcore.DebugLevel:
		return slog.LevelDebug
	case l == zapcore.InfoLevel:
		return slog.LevelInfo
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	default:
		return slog.LevelError
	}
}

func background() context.Context {
	return context.Background() //nolint:forbidigo // zap's Core has no context to pass on
}
