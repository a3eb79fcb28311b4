package trail

// Attempt is one try of a call on one member.
type Attempt struct {
	// Method is service/method, Endpoint the configured one, Member the id of who is behind it, 0 while unknown.
	Method, Endpoint string
	Member           uint64
	// Number counts the tries of one call from 1.
	Number int
}
