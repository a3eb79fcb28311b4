package fault_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/tests/fault/history"
	"github.com/etcdrest/etcdrest/tests/fault/subscribe"
)

// TestLargeRevisionsArriveWhole: a transaction of 100 keys and 20 MB, which etcd sends in pieces, and one of 128 small keys;
// live on every transport, and from the past.
func TestLargeRevisionsArriveWhole(t *testing.T) {
	t.Parallel()
	const most = 32 << 20
	s := newStage(t, 1, fmt.Sprint("--max-request-bytes=", most))
	g := startGateway(t, s)
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{s.cluster.Members[0].Endpoint}, MaxCallSendMsgSize: most, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	view := history.View{Key: "p", Prefix: true}
	all := kinds(g)
	feeds := make([]subscribe.Feed, len(all))
	for i, transport := range all {
		feeds[i] = open(t, transport, subscribe.Ask{View: view, Start: 2})
		next(t, feeds[i], history.Created)
	}
	var written []int64
	for _, size := range []struct{ keys, bytes int }{{100, 200_000}, {128, 10}} {
		var ops []clientv3.Op
		for k := range size.keys {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("p%d/%03d", size.keys, k), strings.Repeat("x", size.bytes)))
		}
		answer, err := client.Txn(within(t, time.Minute)).Then(ops...).Commit()
		if err != nil {
			t.Fatal(err)
		}
		written = append(written, answer.Header.Revision)
	}
	log, err := s.truth.Log(within(t, time.Minute), written[1])
	if err != nil {
		t.Fatal(err)
	}
	whole := func(name string, feed subscribe.Feed) {
		t.Helper()
		stream := history.Stream{Name: name, View: view, Legs: []history.Leg{{Start: 2}}}
		for stream.Legs[0].Last() < written[1] {
			stream.Legs[0].Messages = append(stream.Legs[0].Messages, next(t, feed, history.Events))
		}
		for _, fault := range history.Check(log, stream, written[1]) {
			t.Error(fault.Damage, fault.Stream, fault.Revision) // its detail is 20 MB
		}
	}
	together(t, len(all), func(i int) { whole("live by "+all[i].String(), feeds[i]) })
	for i, feed := range feeds {
		feed.Close(false)
		if i < 2 { // a socket and lines: what is caught up with is the same for all
			whole("from the past by "+all[i].String(), open(t, all[i], subscribe.Ask{View: view, Start: 2}))
		}
	}
}
