package containers_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// composeFile has every member that ours uses; any other is refused, so a misspelt one is found.
type composeFile struct {
	Name           string
	XEtcd          any `yaml:"x-etcd"`
	XEtcdVariables any `yaml:"x-etcd-environment"`
	XGateway       any `yaml:"x-gateway"`
	Services       map[string]service
	Volumes        map[string]any
}

type service struct {
	Image       string
	Build       string
	Restart     string
	Environment map[string]string
	Ports       []string
	Volumes     []string
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	Healthcheck struct {
		Test              []string
		Interval, Timeout string
		Retries           int
	}
}

func readCompose(t *testing.T) composeFile {
	t.Helper()
	var file composeFile
	if err := yaml.UnmarshalWithOptions([]byte(readFile(t, "docker-compose.yml")), &file, yaml.Strict()); err != nil {
		t.Fatal(yaml.FormatError(err, false, true))
	}
	return file
}

// services returns the services whose environment has variables with this prefix.
func (f composeFile) services(t *testing.T, prefix string, want int) map[string]service {
	t.Helper()
	found := map[string]service{}
	for name, s := range f.Services {
		for variable := range s.Environment {
			if strings.HasPrefix(variable, prefix) {
				found[name] = s
			}
		}
	}
	if len(found) != want {
		t.Fatalf("got %d services with %s variables, want %d", len(found), prefix, want)
	}
	return found
}

func TestComposeHasThreeMembersAndTwoGateways(t *testing.T) {
	t.Parallel()
	file := readCompose(t)
	file.services(t, "ETCD_", 3)
	file.services(t, "ETCDREST_", 2)
	if len(file.Services) != 5 {
		t.Errorf("got %d services, want 5", len(file.Services))
	}
	for name, s := range file.Services {
		if s.Healthcheck.Interval == "" || s.Healthcheck.Timeout == "" || s.Healthcheck.Retries == 0 || len(s.Healthcheck.Test) < 2 || s.Healthcheck.Test[0] != "CMD" {
			t.Errorf("%s: got the health check %+v, want a command without a shell, with interval, timeout and retries", name, s.Healthcheck)
		}
		for other, dependency := range s.DependsOn {
			if _, exists := file.Services[other]; !exists || dependency.Condition != "service_healthy" {
				t.Errorf("%s waits for %s to be %q, want a service of this file that is healthy", name, other, dependency.Condition)
			}
		}
	}
}

func TestComposePublishesOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	taken := map[string]string{}
	for name, s := range readCompose(t).Services {
		for _, port := range s.Ports {
			host, inside, _ := strings.Cut(strings.TrimPrefix(port, "127.0.0.1:"), ":")
			if !strings.HasPrefix(port, "127.0.0.1:") || inside == "" {
				t.Errorf("%s publishes %q, want 127.0.0.1:port:port", name, port)
			}
			if taken[host] != "" {
				t.Errorf("%s and %s both publish port %s", name, taken[host], host)
			}
			taken[host] = name
			if _, listens, err := net.SplitHostPort(s.Environment["ETCDREST_LISTEN"]); err != nil || listens != inside {
				t.Errorf("%s publishes its port %s, but listens on %q", name, inside, s.Environment["ETCDREST_LISTEN"])
			}
		}
	}
	if len(taken) != 2 {
		t.Errorf("got %d published ports, want the two gateways'", len(taken))
	}
}

func TestComposePinsTheEtcdThatWeTestWith(t *testing.T) {
	t.Parallel()
	module := regexp.MustCompile(`go\.etcd\.io/etcd/server/v3 (v\S+)`).FindStringSubmatch(readFile(t, "go.mod"))
	if module == nil {
		t.Fatal("go.mod names no etcd server")
	}
	for name, s := range readCompose(t).services(t, "ETCD_", 3) {
		if !strings.HasSuffix(s.Image, "/etcd:"+module[1]) {
			t.Errorf("%s: got the image %s, want etcd:%s as in go.mod", name, s.Image, module[1])
		}
	}
}

// TestComposeMembersFindEachOther checks the variables against etcd's own flags and against each other.
func TestComposeMembersFindEachOther(t *testing.T) {
	t.Parallel()
	file := readCompose(t)
	help, err := exec.CommandContext(t.Context(), harness.Built().Etcd, "--help").CombinedOutput()
	if err != nil {
		t.Fatalf("etcd --help: %v\n%s", err, help)
	}
	var cluster []string
	members := file.services(t, "ETCD_", 3)
	for name, s := range members {
		for variable := range s.Environment {
			flag := "--" + strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(variable, "ETCD_")), "_", "-")
			if !regexp.MustCompile(`(?m)^\s*` + flag + `(\s|$)`).Match(help) {
				t.Errorf("%s: %s is no variable of etcd: it has no flag %s", name, variable, flag)
			}
		}
		if got := s.Environment["ETCD_NAME"]; got != name {
			t.Errorf("%s: got the name %s, want the service's", name, got)
		}
		peer := s.Environment["ETCD_INITIAL_ADVERTISE_PEER_URLS"]
		checkReachable(t, name, peer, s.Environment["ETCD_LISTEN_PEER_URLS"])
		checkReachable(t, name, s.Environment["ETCD_ADVERTISE_CLIENT_URLS"], s.Environment["ETCD_LISTEN_CLIENT_URLS"])
		cluster = append(cluster, name+"="+peer)
		for _, volume := range s.Volumes {
			source, target, _ := strings.Cut(volume, ":")
			if _, declared := file.Volumes[source]; !declared || target != s.Environment["ETCD_DATA_DIR"] {
				t.Errorf("%s: the volume %s is not declared, or not where the data is", name, volume)
			}
		}
	}
	slices.Sort(cluster)
	for name, s := range members {
		if got, want := s.Environment["ETCD_INITIAL_CLUSTER"], strings.Join(cluster, ","); got != want {
			t.Errorf("%s: got the cluster %s, want %s", name, got, want)
		}
	}
}

// checkReachable holds the URL that a service tells others against the one it listens on.
func checkReachable(t *testing.T, service, told, listens string) {
	t.Helper()
	a, err := url.Parse(told)
	if err != nil {
		t.Fatal(err)
	}
	b, err := url.Parse(listens)
	if err != nil {
		t.Fatal(err)
	}
	if a.Hostname() != service || b.Hostname() != "0.0.0.0" || a.Port() == "" || a.Port() != b.Port() || a.Scheme != b.Scheme {
		t.Errorf("%s: tells others %s and listens on %s", service, told, listens)
	}
}

// TestComposeGatewaysAreWellConfigured asks the gateway itself whether it would start with these variables.
func TestComposeGatewaysAreWellConfigured(t *testing.T) {
	t.Parallel()
	file := readCompose(t)
	var endpoints []string
	for _, s := range file.services(t, "ETCD_", 3) {
		endpoints = append(endpoints, s.Environment["ETCD_ADVERTISE_CLIENT_URLS"])
	}
	slices.Sort(endpoints)
	_, final := readDockerfile(t)
	entry := final.one(t, "ENTRYPOINT").execForm(t)[0]
	for name, s := range file.services(t, "ETCDREST_", 2) {
		if s.Build != "." {
			t.Errorf("%s: built from %q, want this checkout", name, s.Build)
		}
		if got, want := s.Environment["ETCDREST_ENDPOINTS"], strings.Join(endpoints, ","); got != want {
			t.Errorf("%s: got the endpoints %s, want %s", name, got, want)
		}
		if said, err := checkConfig(t.Context(), s.Environment); err != nil {
			t.Errorf("%s: gateway check-config: %v\n%s", name, err, said)
		}
		probe := s.Healthcheck.Test[1:]
		if probe[0] != entry {
			t.Errorf("%s: the health check runs %s, but the image has %s", name, probe[0], entry)
		}
		help := exec.CommandContext(t.Context(), harness.Built().Gateway, append(slices.Clone(probe[1:]), "--help")...)
		if said, err := help.CombinedOutput(); err != nil {
			t.Errorf("%s: the health check %q is no command of the gateway: %v\n%s", name, probe, err, said)
		}
	}
}

// TestMisspeltVariableIsRefused shows that the test above can fail.
func TestMisspeltVariableIsRefused(t *testing.T) {
	t.Parallel()
	for _, variables := range []map[string]string{
		{"ETCDREST_ENDPOINTS": "http://etcd1:2379", "ETCDREST_LISTNE": "127.0.0.1:0"},
		{"ETCDREST_ENDPOINTS": "http://etcd1:2379", "ETCDREST_LISTEN": "0.0.0.0:8379"}, // without --insecure-no-auth
	} {
		if said, err := checkConfig(t.Context(), variables); err == nil {
			t.Errorf("gateway check-config takes %v:\n%s", variables, said)
		}
	}
}

func checkConfig(ctx context.Context, variables map[string]string) (said []byte, err error) {
	cmd := exec.CommandContext(ctx, harness.Built().Gateway, "check-config")
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "ETCDREST_") })
	for name, value := range variables {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%s", name, value))
	}
	return cmd.CombinedOutput()
}
