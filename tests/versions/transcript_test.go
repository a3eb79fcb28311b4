package versions_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// transcript is what the callers of a site were answered, by what each answer shows.
type transcript struct {
	order   []string
	answers map[string]string
}

func (n *transcript) note(t *testing.T, shows, answer string) {
	t.Helper()
	if _, twice := n.answers[shows]; twice {
		t.Fatalf("%q is shown twice", shows)
	}
	n.order = append(n.order, shows)
	n.answers[shows] = answer
}

// unlike are the members whose values are ids, secrets, sizes and times: they differ between any two clusters.
var unlike = map[string]bool{
	"cluster_id": true, "member_id": true, "member": true, "leader": true, "lease": true, "owner_key": true, "epoch": true, "cursor": true, "token": true,
	"request_id": true, "hash": true, "db_size": true, "db_size_in_use": true, "raft_term": true, "raft_index": true, "raft_applied_index": true, "raft_lag": true,
	"peer_urls": true, "client_urls": true, "etcdserver": true, "etcdcluster": true, "gateway": true, "id": true, "ID": true,
	"freed_bytes": true, "clientURLs": true, "peerURLs": true, "TTL": true, "dbSize": true, "dbSizeInUse": true, "raftTerm": true, "raftIndex": true,
	"raftAppliedIndex": true,
}

// leveled is a body without them. It keeps text that is no JSON.
func leveled(kind, body string) string {
	if strings.HasSuffix(kind, "octet-stream") && len(body) > 1<<10 { // a snapshot
		return "bytes"
	}
	if !utf8.ValidString(body) {
		return strconv.Quote(body)
	}
	lines := strings.Split(strings.TrimSuffix(body, "\n"), "\n")
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "data: "):
			lines[i] = "data: " + leveledJSON(strings.TrimPrefix(line, "data: "))
		case strings.HasPrefix(line, "id: "): // epoch and revision
			lines[i] = "id: …" + line[strings.LastIndexByte(line, '-'):]
		case strings.HasPrefix(line, "retry: "):
			lines[i] = "retry: …"
		default:
			lines[i] = leveledJSON(line)
		}
	}
	lines = slices.CompactFunc(lines, func(a, b string) bool { return a == b && strings.Contains(a, `"type":"progress"`) }) // how many is a matter of time
	return strings.Join(lines, "\n")
}

func leveledJSON(line string) string {
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	var doc any
	if err := d.Decode(&doc); err != nil {
		return line
	}
	out, err := json.Marshal(level(doc))
	if err != nil {
		return line
	}
	return string(out)
}

var aVersion = regexp.MustCompile(`^3\.\d+\.\d+$|^3\.\d+$`)

func level(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for _, name := range slices.Collect(maps.Keys(v)) {
			if text, ok := v[name].(string); unlike[name] || ok && name == "version" && aVersion.MatchString(text) || name == "ttl" {
				v[name] = "…"
			} else {
				v[name] = level(v[name])
			}
		}
	case []any:
		for i := range v {
			v[i] = level(v[i])
		}
		if len(v) > 0 && isMember(v[0]) { // etcd lists them by their ids
			slices.SortFunc(v, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
	}
	return value
}

func isMember(value any) bool {
	object, _ := value.(map[string]any)
	return object["peer_urls"] != nil
}
