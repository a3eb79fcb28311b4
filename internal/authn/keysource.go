package authn

import "context"

// KeySource has the keys that an issuer's tokens are checked with. It is safe for concurrent use.
type KeySource interface {
	// Keys is the set that counts now, nil as long as there is none. It is asked for each request and never waits.
	Keys() *KeySet
	// Renew is asked when a token names a key that the set lacks, and gives the set that counts after looking once more. It
	// waits no longer than ctx, and looks no more often than is good for whoever has the keys.
	Renew(ctx context.Context) *KeySet
	// Run keeps the keys up to date until ctx ends. It is called once.
	Run(ctx context.Context)
}
