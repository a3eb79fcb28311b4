package main

import (
	"context"
	"crypto/x509"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// door is who may come in, as the file says it; SIGHUP has the file read again.
type door struct {
	gate    *authz.Gate
	methods *authn.Chain
	log     *slog.Logger
	// authorities are those of the listener for clients' certificates; nil without any.
	authorities func() *x509.CertPool
	// read gives the configuration anew.
	read func() (Config, error)
	// changed is told after others may come in, or may do other things.
	changed []func()
}

// newDoor makes the door before a client; nil where nobody is asked who he is.
func newDoor(c Config, client *etcdclient.Client, authorities func() *x509.CertPool, log *slog.Logger, read func() (Config, error)) (*door, error) {
	methods, policy, faults := c.access.open(log)
	if len(faults) > 0 { // a file has changed since the configuration was checked
		return nil, &usageError{faults: faults, see: "gateway help " + checkName}
	}
	if methods == nil {
		return nil, nil //nolint:nilnil // none is a value here
	}
	d := &door{methods: methods, log: log, authorities: authorities, read: read}
	d.prepare(methods)
	d.gate = authz.NewGate(client, methods, policy)
	return d, nil
}

// prepare has methods judge certificates by the listener's authorities.
func (d *door) prepare(methods *authn.Chain) {
	if d.authorities != nil {
		methods.Authorities(d.authorities)
	}
}

// lookEvery is how often it is seen whether keys or authorities have been taken back.
const lookEvery = time.Second

// run keeps the keys of the methods up to date, reads the file again at each SIGHUP, and has those judged again who are inside
// when keys or authorities change, until ctx ends.
func (d *door) run(ctx context.Context) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	second := time.NewTicker(lookEvery)
	defer second.Stop()
	trusted := d.methods.Trusted()
	for ctx.Err() == nil {
		working, stop := context.WithCancel(ctx)
		stopped, methods := make(chan struct{}), d.methods
		go func() {
			defer close(stopped)
			methods.Run(working)
		}()
		for waiting := true; waiting; {
			select {
			case <-hangups:
				waiting = !d.reload(ctx)
			case <-second.C:
				if now := d.methods.Trusted(); !slices.Equal(now, trusted) {
					trusted = now
					d.tell()
				}
			case <-ctx.Done():
				waiting = false
			}
		}
		stop()
		<-stopped
	}
}

// reload reads the file again. What cannot be used is told, and the former rules stay.
func (d *door) reload(ctx context.Context) bool {
	c, err := d.read()
	if err != nil {
		d.log.ErrorContext(ctx, "the configuration cannot be used; the former rules stay", "cause", err.Error())
		return false
	}
	methods, policy, faults := c.access.open(d.log)
	if len(faults) > 0 || methods == nil {
		if methods == nil && len(faults) == 0 {
			faults = []string{"auth and policy are gone; a gateway that asks nobody needs a restart"}
		}
		d.log.ErrorContext(ctx, "the configuration cannot be used; the former rules stay", "faults", faults)
		return false
	}
	d.prepare(methods)
	methods.Adopt(d.methods) // an issuer may be down just now
	d.methods = methods
	d.gate.Replace(methods, policy)
	d.tell()
	d.log.InfoContext(ctx, "auth and policy were read again; all else of the file needs a restart")
	return true
}

// tell has those judged again who are inside.
func (d *door) tell() {
	for _, tell := range d.changed {
		tell()
	}
}
