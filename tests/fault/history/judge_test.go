package history_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/etcdrest/etcdrest/tests/fault/history"
	"github.com/etcdrest/etcdrest/tests/harness"
)

func TestMain(m *testing.M) { harness.Commands(m, "judge") }

func TestEtcdsValidatorsPassGoodStreams(t *testing.T) {
	t.Parallel()
	log := recorded(t)
	streams := []history.Stream{snapshotted(log, inA)}
	for _, view := range []history.View{inA, {Key: "a/x"}, {Key: "", Prefix: true}, {Key: "a/", Prefix: true, PrevKV: true}} {
		streams = append(streams, good(log, view))
	}
	if err := history.Judge(t.Context(), harness.Command(t, "judge"), log, streams); err != nil {
		t.Error(err)
	}
}

// TestEtcdsValidatorsCatchTheSameDamages proves that what we hand them is judged at all.
func TestEtcdsValidatorsCatchTheSameDamages(t *testing.T) {
	t.Parallel()
	log := recorded(t)
	for name, test := range damages {
		stream := good(log, inA)
		stream.Legs[1].Messages = test.inflict(stream.Legs[1].Messages)
		err := history.Judge(t.Context(), harness.Command(t, "judge"), log, []history.Stream{good(log, inA), stream})
		if caught := err != nil; caught == slices.Contains(unseen, name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAJudgeThatCannotReadItsReportIsAnError(t *testing.T) {
	t.Parallel()
	if err := history.Judge(t.Context(), filepath.Join(t.TempDir(), "none"), recorded(t), nil); err == nil {
		t.Error("got no error from a judge that does not exist")
	}
}
