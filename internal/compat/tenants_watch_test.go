package compat_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// watch reads what happened in a range since a moment, until the stream says that this is all.
func (x *tenant) watch() {
	if len(x.moments) == 0 {
		return
	}
	var since twin
	for side, revision := range x.moments[x.r.IntN(len(x.moments))] {
		after, err := strconv.ParseInt(revision, 10, 64)
		if err != nil {
			x.t.Fatal(err)
		}
		since[side] = strconv.FormatInt(after+1, 10) // which others may have taken before
	}
	x.v3("/v3/kv/put", fmt.Sprintf(`{"key":%q,"value":%q}`, x.key(), b64(x.value()))) // so that the past is past in both
	create := fmt.Sprintf(`{"create_request":{"key":%q,"range_end":%q,"prev_kv":%t,"filters":[%s],"start_revision":"{R}"}}`,
		x.anyKey(), x.end(), x.flag(), x.of("", "", `"NODELETE"`, `"NOPUT"`))
	var told [2][]any
	for side, address := range x.urls {
		var headers []string
		if side == 0 {
			headers = []string{by(x.name)}
		}
		told[side] = x.follow(dial(x.t, address, "/v3/watch", nil, headers...), strings.ReplaceAll(create, "{R}", since[side]))
	}
	x.keepsSecrets(x.at, answer{body: fmt.Sprint(told[0]...)})
	if diff := x.differ("events", told[0], told[1]); diff != "" {
		x.t.Fatalf("%s: %s since %v: %s\nshared %v\nalone  %v", x.at, create, since, diff, told[0], told[1])
	}
}

// follow gives the first answer to a watch, without its header, and its events so far.
func (x *tenant) follow(conn *websocket.Conn, create string) (told []any) {
	conn.SetReadLimit(-1)
	ctx, stop := context.WithCancel(x.t.Context())
	asked := make(chan struct{})
	defer func() {
		stop()
		<-asked
		_ = conn.CloseNow()
	}()
	say(x.t, conn, create)
	go func() { // etcd does not answer this as long as there is more to tell
		defer close(asked)
		for ctx.Err() == nil && conn.Write(ctx, websocket.MessageText, []byte(`{"progress_request":{}}`)) == nil {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	for {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, b, err := conn.Read(ctx)
		cancel()
		if err != nil {
			x.t.Fatalf("%s: %s: %v after %v", x.at, create, err, told)
		}
		message := string(b)
		doc, _ := documents(x.t.Fatalf, message)[0].(map[string]any)
		result, _ := doc["result"].(map[string]any)
		delete(result, "header")
		events, _ := result["events"].([]any)
		switch {
		case result["canceled"] == true:
			return append(told, result)
		case result["created"] == true:
			told = append(told, result)
		case len(events) > 0:
			told = append(told, events...)
		case len(told) > 0:
			return told
		default:
			x.t.Fatalf("%s: %s: got %s", x.at, create, message)
		}
	}
}
