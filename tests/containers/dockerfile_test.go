// Package containers_test holds the Dockerfile and the compose file to what they promise, without a container engine.
package containers_test

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// instruction is one of a Dockerfile, its words split at spaces.
type instruction struct {
	name  string
	words []string
}

func (i instruction) rest() string { return strings.Join(i.words, " ") }

// execForm is the arguments of ENTRYPOINT ["a", "b"] and its like.
func (i instruction) execForm(t *testing.T) []string {
	t.Helper()
	var args []string
	if err := json.Unmarshal([]byte(i.rest()), &args); err != nil {
		t.Fatalf("%s %s: not in exec form, and there is no shell: %v", i.name, i.rest(), err)
	}
	return args
}

// stage is the instructions from one FROM to the next.
type stage []instruction

func (s stage) all(name string) []instruction {
	return slices.DeleteFunc(slices.Clone(s), func(i instruction) bool { return i.name != name })
}

func (s stage) one(t *testing.T, name string) instruction {
	t.Helper()
	found := s.all(name)
	if len(found) != 1 {
		t.Fatalf("got %d %s instructions in a stage, want one", len(found), name)
	}
	return found[0]
}

// readDockerfile returns the build stage and the final one.
func readDockerfile(t *testing.T) (build, final stage) {
	t.Helper()
	text := strings.ReplaceAll(readFile(t, "Dockerfile"), "\\\n", " ")
	var stages []stage
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if words[0] == "FROM" {
			stages = append(stages, nil)
		}
		last := len(stages) - 1
		stages[last] = append(stages[last], instruction{words[0], words[1:]})
	}
	if len(stages) != 2 {
		t.Fatalf("got %d stages, want a build stage and a final one", len(stages))
	}
	return stages[0], stages[1]
}

func checkout(t *testing.T) string {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(checkout(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestImagesAreBuiltFromPinnedOnes(t *testing.T) {
	t.Parallel()
	build, final := readDockerfile(t)
	from := build.one(t, "FROM").words[0]
	if !regexp.MustCompile(`^golang:\d+\.\d+\.\d+-[a-z]+$`).MatchString(from) {
		t.Errorf("the build stage is from %s, want golang with its full version and the distribution", from)
	}
	if from := final.one(t, "FROM").rest(); from != "scratch" {
		t.Errorf("the final stage is from %s, want scratch: nothing there to exploit or to update", from)
	}
}

func TestImageRunsAsNobodyInParticular(t *testing.T) {
	t.Parallel()
	_, final := readDockerfile(t)
	user := final.one(t, "USER").rest()
	if !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(user) {
		t.Errorf("got USER %s, want a user and group by number, not root: an empty image has no names", user)
	}
}

// TestDockerfileBuildsAStaticGatewayWithoutEtcd runs the build stage's own commands on just the files that it copies.
func TestDockerfileBuildsAStaticGatewayWithoutEtcd(t *testing.T) {
	t.Parallel()
	build, final := readDockerfile(t)
	dir := t.TempDir()
	source, binary := filepath.Join(dir, "src"), filepath.Join(dir, "gateway")
	for _, step := range build {
		switch step.name {
		case "COPY":
			copyIn(t, step, source)
		case "RUN":
			runStep(t, strings.Replace(step.rest(), "-o /gateway ", "-o "+binary+" ", 1), source)
		}
	}
	checkStatic(t, binary)
	checkBuildInfo(t, binary)

	var copied []string
	for _, step := range final.all("COPY") {
		copied = append(copied, step.words[len(step.words)-1])
	}
	entry := final.one(t, "ENTRYPOINT").execForm(t)
	if len(entry) != 1 || !slices.Contains(copied, entry[0]) {
		t.Errorf("got the entry point %q, want one of the copied %q", entry, copied)
	}
	run := exec.CommandContext(t.Context(), binary, append(final.one(t, "CMD").execForm(t), "--help")...)
	if said, err := run.CombinedOutput(); err != nil {
		t.Errorf("the image's default command with --help: %v\n%s", err, said)
	}
}

func copyIn(t *testing.T, step instruction, source string) {
	t.Helper()
	root := checkout(t)
	sources, target := step.words[:len(step.words)-1], step.words[len(step.words)-1]
	ignored := strings.Fields(readFile(t, ".dockerignore"))
	for _, name := range sources {
		if slices.Contains(ignored, name) {
			t.Errorf("COPY %s: .dockerignore keeps it from the builder", name)
		}
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil {
			t.Fatalf("COPY %s: %v", name, err)
		}
		into := filepath.Join(source, target)
		if info.IsDir() {
			if err := os.CopyFS(into, os.DirFS(filepath.Join(root, name))); err != nil {
				t.Fatalf("COPY %s: %v", name, err)
			}
			continue
		}
		if err := os.MkdirAll(into, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(into, name), []byte(readFile(t, name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func runStep(t *testing.T, command, dir string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-euc", command)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("RUN %s: %v\n%s", command, err, said)
	}
}

func checkStatic(t *testing.T, binary string) {
	t.Helper()
	file, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP {
			t.Error("the binary asks for a dynamic loader, which an empty image does not have")
		}
	}
	if file.Section(".symtab") != nil || file.Section(".debug_info") != nil {
		t.Error("the binary holds symbols and debug information; want -s -w")
	}
}

func checkBuildInfo(t *testing.T, binary string) {
	t.Helper()
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	for key, want := range map[string]string{"CGO_ENABLED": "0", "-trimpath": "true", "-tags": "nodev"} {
		if settings[key] != want {
			t.Errorf("the binary was built with %s=%q, want %q", key, settings[key], want)
		}
	}
	for _, dep := range info.Deps {
		switch dep.Path {
		case "go.etcd.io/etcd/client/v3", "go.etcd.io/raft/v3", "go.etcd.io/bbolt":
			t.Errorf("the binary holds %s, which only `gateway dev` needs", dep.Path)
		}
	}
	// The messages of etcd's lock and election services, which /v3 has, are in the server's module; the server itself is not here.
	text, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("go.etcd.io/etcd/server/v3/etcdserver.(*EtcdServer)")) {
		t.Error("the binary holds etcd's server, which only `gateway dev` needs")
	}
}
