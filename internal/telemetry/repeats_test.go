package telemetry_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/etcdrest/etcdrest/internal/telemetry"
	"github.com/etcdrest/etcdrest/internal/trail"
)

// refusedLine is what the tests look at of a line.
type refusedLine struct {
	Principal, Remote, Operation, Error string
	RequestID                           string `json:"request_id"`
	Repeated                            int64
}

// refusals gives the lines, and how many refusals they stand for.
func refusals(t *testing.T, d *disk) (lines []refusedLine, all int64) {
	t.Helper()
	for text := range strings.Lines(d.String()) {
		var line refusedLine
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		lines = append(lines, line)
		all += max(line.Repeated, 1)
	}
	return lines, all
}

// refuse ends a request to write that was refused at the door.
func refuse(t *testing.T, recorder *telemetry.Recorder, id, remote, code string) {
	t.Helper()
	recorder.End(t.Context(), &trail.Request{
		ID: id, Method: "PUT", Operation: "putKey", Writes: true, Remote: remote, Status: 401, Code: code, Outcome: "not_applied", Started: time.Now(),
	})
}

func TestRefusalsThatAreAlikeShareALineASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{free: -1}
		log := telemetry.NewAuditLog(sinkTo(t, d), true, slog.New(slog.DiscardHandler))
		recorder := &telemetry.Recorder{Audit: log}
		for i := range 3000 {
			refuse(t, recorder, fmt.Sprint(i), fmt.Sprintf("192.0.2.1:%d", 1024+i), "unauthenticated")
			if i == 1500 {
				refuse(t, recorder, "other reason", "192.0.2.1:7", "auth_expired")
				refuse(t, recorder, "other host", "192.0.2.2:7", "unauthenticated")
			}
			<-time.After(time.Millisecond)
		}
		<-time.After(1500 * time.Millisecond) // nothing more comes, and what was counted is written all the same
		synctest.Wait()
		lines, all := refusals(t, d)
		if all != 3002 || len(lines) > 8 {
			t.Errorf("got %d lines for %d refusals, want at most 8 for 3002: %+v", len(lines), all, lines)
		}
		if lines[0].RequestID != "0" || lines[0].Repeated != 0 || lines[1].Repeated < 900 || lines[1].RequestID == "" {
			t.Errorf("got %+v, want the first refusal by itself, and then those of a second", lines[:2])
		}
		for _, id := range []string{"other reason", "other host"} {
			if !strings.Contains(d.String(), id) {
				t.Errorf("%s has no line of its own", id)
			}
		}
		// After a quiet second the next one is written at once.
		<-time.After(3 * time.Second)
		refuse(t, recorder, "again", "192.0.2.1:7", "unauthenticated")
		if lines, _ := refusals(t, d); lines[len(lines)-1].RequestID != "again" {
			t.Errorf("got %+v at the end, want the one that came after a while", lines[len(lines)-1])
		}
		refuse(t, recorder, "last", "192.0.2.1:7", "unauthenticated")
		if err := log.Close(); err != nil {
			t.Error(err)
		}
		if _, all := refusals(t, d); all != 3004 {
			t.Errorf("after Close: got %d refusals, want 3004", all)
		}
	})
}

// Whoever has many addresses gets no more lines for that.
func TestRefusalsFromManyAddressesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{free: -1}
		log := telemetry.NewAuditLog(sinkTo(t, d), true, slog.New(slog.DiscardHandler))
		recorder := &telemetry.Recorder{Audit: log}
		const n = 10_000
		for i := range n {
			refuse(t, recorder, fmt.Sprint(i), fmt.Sprintf("[2001:db8::%x]:443", i), "unauthenticated")
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
		lines, all := refusals(t, d)
		if all != n || len(lines) > 300 {
			t.Errorf("got %d lines for %d refusals, want at most 300 for %d", len(lines), all, n)
		}
		if last := lines[len(lines)-1]; last.Remote != "several" || last.Error != "unauthenticated" {
			t.Errorf("got %+v, want one line for several", last)
		}
	})
}
