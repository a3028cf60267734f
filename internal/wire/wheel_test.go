// Package wire_test compares the committed stubs with the Ray wheel that is installed.
package wire_test

import (
	"bytes"
	"os"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/internal/wire/corepb"
)

func TestStubsAgreeWithTheWheel(t *testing.T) {
	core, err := proto.Marshal(protodesc.ToFileDescriptorProto(corepb.File_core_proto))
	if err != nil {
		t.Fatal(err)
	}
	file := t.TempDir() + "/core.binpb"
	if err := os.WriteFile(file, core, 0o600); err != nil {
		t.Fatal(err)
	}
	out := raytest.Python(t, `
import os, pathlib, sys
sys.path.insert(0, os.environ["ROOT"] + "/scripts")
import generate
from google.protobuf import descriptor_pb2
fd = descriptor_pb2.FileDescriptorProto.FromString(pathlib.Path(os.environ["CORE"]).read_bytes())
assert len(fd.message_type) > 30, "the slim descriptor is empty"
for problem in generate.compare(fd):
    print("core.proto:", problem)
if generate.ray_client_descriptor().SerializeToString(deterministic=True) != (generate.WIRE / "raypb" / "ray_client.binpb").read_bytes():
    print("ray_client.binpb differs")
print("compared")
`, "ROOT="+raytest.Root(t), "CORE="+file)
	if got := string(bytes.TrimSpace([]byte(out))); got != "compared" {
		t.Errorf("run `make generate` and see what changed:\n%s", got)
	}
}
