package handlers

import (
	"context"
	"sync"

	"github.com/coreos/go-semver/semver"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// version answers GET /version: the gateway's version, and those of etcd as far as it answers. The members etcdserver,
// etcdcluster and storage are spelled as etcd's own /version spells them, which clients look at.
func (a *API) version(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	c.openObject()
	c.textMember("gateway", a.options.Version)
	c.textMember("api", "v1")
	versions := a.versions(c.ctx())
	c.textMember("etcdserver", versions.server)
	c.textMember("etcdcluster", versions.cluster)
	if versions.storage != "" {
		c.textMember("storage", versions.storage)
	}
	if epoch, err := a.epoch.Current(c.ctx()); err == nil {
		c.textMember("epoch", epoch)
	}
	c.closeObject()
	return nil
}

// unknownVersion is what /version says of an etcd that does not answer.
const unknownVersion = "unknown"

type versions struct{ server, cluster, storage string }

// versions asks every member. The cluster's version is the lowest minor version among those that answer, since that is
// what the cluster's members agree on; etcd does not tell it over gRPC.
func (a *API) versions(ctx context.Context) versions {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	endpoints := a.backend.Endpoints()
	statuses := make([]etcdclient.MemberStatus, len(endpoints))
	var wg sync.WaitGroup
	for i, endpoint := range endpoints {
		wg.Go(func() { statuses[i], _ = a.backend.Status(ctx, endpoint) }) // a member that does not answer is left out
	}
	wg.Wait()
	v := versions{server: unknownVersion, cluster: clusterVersion(statuses)}
	for _, s := range statuses {
		if s.Version != "" && v.server == unknownVersion {
			v.server, v.storage = s.Version, s.StorageVersion
		}
	}
	return v
}

// clusterVersion is the lowest minor version of those members that have answered.
func clusterVersion(statuses []etcdclient.MemberStatus) string {
	var lowest *semver.Version
	for _, s := range statuses {
		parsed, err := semver.NewVersion(s.Version)
		if err == nil && (lowest == nil || parsed.LessThan(*lowest)) {
			lowest = parsed
		}
	}
	if lowest == nil {
		return unknownVersion
	}
	return (&semver.Version{Major: lowest.Major, Minor: lowest.Minor}).String()
}
