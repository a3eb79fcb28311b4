// Package loopback finds addresses for the servers of tests, those that are stopped and come back at the same address.
package loopback

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports below those that systems give to listeners on port 0 and to outgoing connections.
const lowestPort, highestPort = 10_000, 30_000

// LastingAddress finds a free port of this machine, as 127.0.0.1:port, that stays free while its server is down: nobody gets it who
// did not ask for it by number. (A port of the usual range may by then be the source port of the very client that tries to reach
// the server, or the port of another test's.)
func LastingAddress(ctx context.Context) (string, error) {
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(lowestPort+rand.IntN(highestPort-lowestPort))) //nolint:gosec // no secret
		if l, err := new(net.ListenConfig).Listen(ctx, "tcp", address); err == nil {
			_ = l.Close()
			return address, nil
		}
	}
	return "", errors.New("find a free port: none of 100 is free")
}
