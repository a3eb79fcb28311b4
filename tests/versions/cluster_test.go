package versions_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
)

// compaction is history that is forgotten, and what a reader of it is told. The last revision that is forgotten is a deletion, which
// etcd has not always kept whole.
func (s *site) compaction() {
	begin := s.quietly("PUT", "/v1/kv/c/1", `{"value":"a"}`).ok(s.t).text(s.t, "mod_revision")
	deleted := s.quietly("DELETE", "/v1/kv/c/1", "").ok(s.t).text(s.t, "revision")
	s.quietly("PUT", "/v1/kv/c/2", `{"value":"b"}`).ok(s.t)
	s.call("a compaction", "POST", "/v1/maintenance/compact", `{"revision":`+deleted+`,"physical":true}`)
	s.call("a compaction of what is compacted", "POST", "/v1/maintenance/compact", `{"revision":`+begin+`}`)
	s.call("a compaction of the future", "POST", "/v1/maintenance/compact", `{"revision":100000}`)
	s.call("a read before the compaction", "GET", "/v1/kv/c/1?revision="+begin, "")
	s.call("a list before the compaction", "GET", "/v1/kv?prefix=c/&revision="+begin, "")
	s.together(
		get{"a watch from before the compaction", "/v1/watch?stream=ndjson&prefix=c/&timeout=1&start_revision=" + begin},
		get{"events from before the compaction", "/v1/watch?stream=sse&prefix=c/&timeout=1&start_revision=" + begin},
		get{"a poll from before the compaction", "/v1/watch/poll?prefix=c/&wait=0&start_revision=" + begin},
		get{"a watch that begins anew", "/v1/watch?stream=ndjson&prefix=c/&timeout=1&on_compacted=resync&start_revision=" + begin},
		get{"a watch from the compaction on", "/v1/watch?stream=ndjson&prefix=c/&timeout=1&start_revision=" + deleted},
		get{"a poll from the compaction on", "/v1/watch/poll?prefix=c/&wait=0&start_revision=" + deleted},
	)
	s.call("the history of a key that is gone", "GET", "/v1/history/c/1", "")
	s.call("all lives of a key, as far as they are known", "GET", "/v1/history/c/2?lives=all", "")
}

// cluster is the members and what they say of themselves.
func (s *site) cluster() {
	view := s.call("the cluster", "GET", "/v1/cluster", "").ok(s.t)
	s.call("the versions", "GET", "/version", "")
	s.call("health", "GET", "/health", "")
	s.call("readiness", "GET", "/readyz", "")
	s.call("the alarms", "GET", "/v1/cluster/alarms", "")
	var doc struct{ Members []struct{ ID string } }
	if err := json.Unmarshal(view.body, &doc); err != nil || len(doc.Members) != 1 {
		s.t.Fatalf("the cluster has not one member: %s", view.body)
	}
	only := doc.Members[0].ID
	s.call("the only member is moved the lead", "POST", "/v1/cluster/leader", `{"to":"`+only+`"}`)
	s.call("the only member is promoted", "POST", "/v1/cluster/members/"+only+"/promote", "")
	s.call("a member that is not there is removed", "DELETE", "/v1/cluster/members/77", "")
	s.call("a member that is not there is changed", "PUT", "/v1/cluster/members/77", `{"peer_urls":["http://127.0.0.1:1"]}`)
	added := s.call("a learner is added", "POST", "/v1/cluster/members", `{"peer_urls":["http://127.0.0.1:1"],"learner":true}`).ok(s.t)
	var learner struct{ Member struct{ ID string } }
	if err := json.Unmarshal(added.body, &learner); err != nil || learner.Member.ID == "" {
		s.t.Fatalf("no learner: %s", added.body)
	}
	s.call("a learner that was never started is promoted", "POST", "/v1/cluster/members/"+learner.Member.ID+"/promote", "")
	s.call("a learner is removed", "DELETE", "/v1/cluster/members/"+learner.Member.ID, "")
}

// maintenance is the members' databases.
func (s *site) maintenance() {
	s.call("the hash of the keys", "GET", "/v1/maintenance/hash", "")
	s.call("the hash of the database", "GET", "/v1/maintenance/hash?of=database", "")
	snapshot := s.call("a snapshot", "GET", "/v1/maintenance/snapshot", "").ok(s.t)
	size := len(snapshot.body) - sha256.Size
	if size < 0 || fmt.Sprintf("%x", sha256.Sum256(snapshot.body[:size])) != fmt.Sprintf("%x", snapshot.body[size:]) {
		s.t.Errorf("the snapshot of %d bytes does not end with its hash", len(snapshot.body))
	}
	s.told.note(s.t, "the format of a snapshot is told", fmt.Sprint(snapshot.header.Get("Etcd-Storage-Version") != ""))
	s.call("a defragmentation", "POST", "/v1/maintenance/defragment", "")
	s.call("a downgrade to what cannot be", "POST", "/v1/maintenance/downgrade", `{"action":"validate","version":"3.0"}`)
	s.call("a downgrade to what is no version", "POST", "/v1/maintenance/downgrade", `{"action":"validate","version":"x"}`)
	s.call("the end of a downgrade that was never begun", "POST", "/v1/maintenance/downgrade", `{"action":"cancel"}`)
}
