package kvjson

import "strings"

// Nearest gives the known word that name is most likely a slip of, or "" when none is near: the same but for case and
// punctuation, or at most a quarter of its letters slipped (one more, less, other, or two swapped). Of equally near ones
// the first wins.
func Nearest(name string, known []string) string {
	if len(name) > maxEcho {
		return ""
	}
	folded := fold(name)
	best, nearest := max(1, len(folded)/4), ""
	for _, word := range known {
		if n := distance(folded, fold(word), best); n <= best && (n < best || nearest == "") {
			best, nearest = n, word
		}
	}
	return nearest
}

// fold makes leaseTTL, lease-ttl and lease_ttl the same.
func fold(s string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(s))
}

// distance is the number of slips between a and b (optimal string alignment), or more than limit when it exceeds that.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			differ := 1
			if a[i-1] == b[j-1] {
				differ = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+differ)
			if differ == 1 && i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}
