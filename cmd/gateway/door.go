package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// door is who may come in, as the file says it; SIGHUP has the file read again.
type door struct {
	gate    *authz.Gate
	methods *authn.Chain
	log     *slog.Logger
	// read gives the configuration anew.
	read func() (Config, error)
	// changed is told after others may come in, or may do other things.
	changed []func()
}

// newDoor makes the door before a client; nil where nobody is asked who he is.
func newDoor(c Config, client *etcdclient.Client, log *slog.Logger, read func() (Config, error)) (*door, error) {
	methods, policy, faults := c.access.open(log)
	if len(faults) > 0 { // a file has changed since the configuration was checked
		return nil, &usageError{faults: faults, see: "gateway help " + checkName}
	}
	if methods == nil {
		return nil, nil //nolint:nilnil // none is a value here
	}
	return &door{gate: authz.NewGate(client, methods, policy), methods: methods, log: log, read: read}, nil
}

// run keeps the keys of the methods up to date, and reads the file again at each SIGHUP, until ctx ends.
func (d *door) run(ctx context.Context) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
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
	methods.Adopt(d.methods) // an issuer may be down just now
	d.methods = methods
	d.gate.Replace(methods, policy)
	for _, tell := range d.changed {
		tell()
	}
	d.log.InfoContext(ctx, "auth and policy were read again; all else of the file needs a restart")
	return true
}
