package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// Where the tenant's keys are, and who it is.
const (
	tenants = "tenants/"
	tenant  = "acme"
)

// startGuarded runs a gateway that asks for JWTs and keeps each tenant in a namespace of its own, and makes a token for it.
func startGuarded(ctx context.Context, programs harness.Programs, dir, endpoint string) (*harness.Gateway, string, error) {
	key, file := filepath.Join(dir, "key.pem"), filepath.Join(dir, "gateway.yaml")
	const issuer, audience = "https://id.example", "bench"
	if _, err := exec.CommandContext(ctx, programs.Gateway, "token", "--generate-key", key).Output(); err != nil {
		return nil, "", fmt.Errorf("gateway token: %w", err)
	}
	token, err := exec.CommandContext(ctx, programs.Gateway, "token", "--key", key, "--issuer", issuer, "--audience", audience, "--subject", tenant).Output()
	if err != nil {
		return nil, "", fmt.Errorf("gateway token: %w", err)
	}
	text := fmt.Sprintf(`
auth:
  - {kind: jwt, issuer: %q, audience: %s, keys: {jwks_file: %q, algorithms: [ES256]}}
policy:
  - when: {kind: jwt}
    namespace: %s{name}/
    grants: [{verbs: [read, write, watch, lease, lock]}]
`, issuer, audience, key+".jwks.json", tenants)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, "", err
	}
	gateway, err := programs.StartGateway(ctx, "serve", "--config", file, "--endpoints", endpoint, "--admin-listen=")
	return gateway, strings.TrimSpace(string(token)), err
}
