package jsonpatch

// Merge gives the document after a merge patch (RFC 7396). Any JSON is a patch, and none can fail: what is an object is
// merged member by member, null takes a member out, anything else replaces. New members come in the patch's order.
func Merge(document, patch []byte) []byte {
	target := node{raw: document}
	merge(&target, &node{raw: patch})
	return target.text()
}

func merge(target, patch *node) {
	changes := patch.object()
	if changes == nil {
		*target = node{raw: patch.raw}
		return
	}
	into := target.object()
	if into == nil {
		*target = node{raw: []byte("{}")}
		into = target.inside()
	}
	for i := range changes.kids {
		change, written := &changes.kids[i], changes.names[i]
		name := unquote(written)
		present := into.member(name)
		switch {
		case string(change.raw) != "null" && present != nil:
			merge(present, change)
		case string(change.raw) != "null":
			var added node // starts from nothing, so that the nulls inside objects of the patch do not become members
			merge(&added, change)
			into.set(name, written, added)
		case present != nil:
			into.remove(name)
		}
	}
}
