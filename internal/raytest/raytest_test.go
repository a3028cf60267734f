package raytest_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
)

func TestMain(m *testing.M) { raytest.Main(m, raytest.WithLeakCheck()) }

func TestSharedHeadRunsPython(t *testing.T) {
	head := raytest.Head(t)
	if raytest.Head(t) != head {
		t.Error("the second call has another head")
	}
	got := raytest.Python(t, `
import os, ray, seedtest
ray.init(os.environ["ADDRESS"], namespace=os.environ["NAMESPACE"])
print(ray.get(ray.remote(seedtest.add).remote(20, 22)))
counter = ray.remote(num_cpus=0)(seedtest.Counter).remote()
print(ray.get([counter.incr.remote() for _ in range(3)])[-1])
print(int(ray.cluster_resources()["CPU"]))
`, "ADDRESS=ray://"+head.ClientAddress(), "NAMESPACE="+raytest.Namespace(t))
	if want := "42\n3\n8\n"; got != want {
		t.Errorf("the script printed %q, want %q", got, want)
	}
}

func TestOwnHeadComesBackAtItsAddress(t *testing.T) {
	head := raytest.NewHead(t, rayhead.Config{NumCPUs: 1})
	if head.ClientAddress() == raytest.Head(t).ClientAddress() {
		t.Error("it has the address of the shared head")
	}
	head.Kill()
	again := raytest.NewHead(t, rayhead.Config{NumCPUs: 1, Ports: head.Ports()})
	if again.GCSAddress() != head.GCSAddress() {
		t.Errorf("it came back at %s, was at %s", again.GCSAddress(), head.GCSAddress())
	}
}

func TestNamespaceIsUnique(t *testing.T) {
	first, second := raytest.Namespace(t), raytest.Namespace(t)
	if first == second || !strings.HasPrefix(first, "TestNamespaceIsUnique-") {
		t.Errorf("namespaces %q and %q", first, second)
	}
}

func TestBuildGo(t *testing.T) {
	path := raytest.BuildGo(t, "./internal/raytest/testdata/hello")
	output, err := exec.CommandContext(t.Context(), path).CombinedOutput()
	if err != nil || string(output) != "hello\n" {
		t.Errorf("it printed %q (%v)", output, err)
	}
	if raytest.BuildGo(t, "./internal/raytest/testdata/hello") != path {
		t.Error("it was built twice")
	}
}
