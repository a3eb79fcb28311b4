package authz

// Cover tells whether the grants cover the verbs on the range.
func Cover(grants []Grant, v Verb, key, end []byte) bool {
	r := newRights(grants)
	return r.cover(v, key, end)
}
