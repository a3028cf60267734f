package worker_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/worker"
)

// defaultWorker is a file tree like that of Ray 2.60, below testdata.
func defaultWorker() string {
	path, err := filepath.Abs("testdata/ray/_private/workers/default_worker.py")
	if err != nil {
		panic(err)
	}
	return path
}

// rayletArgs are the arguments with which Ray 2.60 starts a worker.
func rayletArgs() []string {
	return []string{
		defaultWorker(),
		"--node-ip-address=127.0.0.1", "--node-manager-port=37917",
		"--object-store-name=/tmp/ray/session_1/sockets/plasma_store", "--raylet-name=/tmp/ray/session_1/sockets/raylet",
		"--redis-address=None", "--metrics-agent-port=0", "--logging-rotate-bytes=536870912", "--logging-rotate-backup-count=5",
		"--runtime-env-agent-port=0", "--gcs-address=127.0.0.1:6379", "--session-name=session_1", "--temp-dir=/tmp/ray", "--webui=",
		"--cluster-id=1d587e0b232c1b11b64c655422ac84b49dcc7d11a9b3415dafd76b69",
		"--worker-id=" + strings.Repeat("0c", 28), "--worker-launch-time-ms=1795509695483",
		"--node-id=e61526c6bf3355a614942fa42eeffe4eabf1eee24aabab132ad2c59f", "--runtime-env-hash=-1231011690", "",
	}
}

// with replaces a flag, or removes it when value is "-".
func with(flag, value string) []string {
	args := slices.DeleteFunc(rayletArgs(), func(arg string) bool { return strings.HasPrefix(arg, flag+"=") })
	if value == "-" {
		return args
	}
	return append(args, flag+"="+value)
}

func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for _, pair := range pairs {
			if value, ok := strings.CutPrefix(pair, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

func TestRequestedOnlyByARaylet(t *testing.T) {
	old := []string{"/x/default_worker.py", "--startup-token=3"}
	for _, args := range [][]string{rayletArgs(), append([]string{"./program"}, rayletArgs()...), old} {
		if !worker.Requested(args) {
			t.Errorf("not for %q", args)
		}
	}
	for _, args := range [][]string{
		nil, {"up"}, {"serve", "--listen=:8002"}, {"call", "default_worker.py"}, {"--worker-id=00"}, {"worker-id", "default_worker.py"},
	} {
		if worker.Requested(args) {
			t.Errorf("for %q", args)
		}
	}
}

func TestLaunchOfRay260(t *testing.T) {
	l, err := worker.ParseLaunch(rayletArgs(), environment("RAY_JOB_ID=01000000"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(l.WorkerID, bytes.Repeat([]byte{0x0c}, 28)) || !bytes.Equal(l.JobID, []byte{1, 0, 0, 0}) ||
		l.NodeIP != "127.0.0.1" || l.Raylet != "/tmp/ray/session_1/sockets/raylet" || l.GCSAddress != "127.0.0.1:6379" ||
		l.ClusterID != "1d587e0b232c1b11b64c655422ac84b49dcc7d11a9b3415dafd76b69" || l.RuntimeEnvHash != -1231011690 ||
		l.LaunchTimeMs != 1795509695483 || l.LogDir != "/tmp/ray/session_1/logs" {
		t.Errorf("%+v", l)
	}
}

func TestLaunchVariants(t *testing.T) {
	l, err := worker.ParseLaunch(with("--raylet-name", "unix:///run/ray/s/sockets/raylet"), environment())
	if err != nil {
		t.Fatal(err)
	}
	if l.Raylet != "/run/ray/s/sockets/raylet" || !bytes.Equal(l.JobID, []byte{0xff, 0xff, 0xff, 0xff}) {
		t.Errorf("%+v", l)
	}
	l, err = worker.ParseLaunch(with("--temp-dir", "-"), environment("RAY_AUTH_MODE=disabled", "RAY_USE_TLS=0"))
	if err != nil || l.LogDir != "/tmp/ray/session_1/logs" {
		t.Errorf("%+v, %v", l, err)
	}
	l, err = worker.ParseLaunch(with("--runtime-env-hash", "7"), environment())
	if err != nil || l.RuntimeEnvHash != 7 {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestAWorkerNeedsTheClustersCredentials(t *testing.T) {
	for env, want := range map[string]string{"RAY_AUTH_MODE=token": "no authentication token", "RAY_USE_TLS=True": "RAY_TLS_SERVER_CERT"} {
		_, err := worker.ParseLaunch(rayletArgs(), environment(env, "HOME="+t.TempDir()))
		if worker.LaunchErrorSource(err) != "Ray's authentication" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", env, err)
		}
	}
}

func TestLaunchErrorsNameTheirSource(t *testing.T) {
	for _, test := range []struct {
		source, value string
		want          string
	}{
		{"--worker-id", "-", "missing"},
		{"--worker-id", "0c", "56 hex digits"},
		{"--worker-id", strings.Repeat("zz", 28), "56 hex digits"},
		{"--node-ip-address", "-", "missing"},
		{"--raylet-name", "", "missing"},
		{"--raylet-name", "tcp://127.0.0.1:1", "unix socket"},
		{"--gcs-address", "-", "missing"},
		{"--runtime-env-hash", "-", "missing"},
		{"--runtime-env-hash", "4294967296", "32 bits"},
		{"--worker-launch-time-ms", "soon", "integer"},
		{"--worker-type", "SPILL_WORKER", "actors"},
		{"RAY_JOB_ID", "xyz", "8 hex digits"},
	} {
		args, env := rayletArgs(), environment()
		if strings.HasPrefix(test.source, "--") {
			args = with(test.source, test.value)
		} else {
			env = environment(test.source + "=" + test.value)
		}
		_, err := worker.ParseLaunch(args, env)
		if worker.LaunchErrorSource(err) != test.source || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s=%s: %v", test.source, test.value, err)
		}
	}
}

// withRay returns the arguments of a raylet of that version, whose files are in a directory of the test.
func withRay(t *testing.T, version string, more ...string) []string {
	t.Helper()
	root := t.TempDir()
	workers := filepath.Join(root, "_private", "workers")
	if err := os.MkdirAll(workers, 0o755); err != nil {
		t.Fatal(err)
	}
	content := "# The commit.\ncommit = \"abc\"\nversion = \"" + version + "\"\n"
	if err := os.WriteFile(filepath.Join(root, "_version.py"), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	args := rayletArgs()
	args[0] = filepath.Join(workers, "default_worker.py")
	return append(args, more...)
}

func TestTheLayoutIsThatOfTheRaylet(t *testing.T) {
	for _, test := range []struct {
		version        string
		more           []string
		env            string
		old            bool
		refusal, fatal string
	}{
		{version: "2.60.0"},
		{version: "2.54.1"},
		{version: "2.48.0", more: []string{"--startup-token=12"}, old: true},
		{version: "2.57.3rc1", refusal: "tested on Ray 2.48, 2.54 and 2.60, and this is 2.57.3rc1"},
		{version: "2.57.3rc1", refusal: "SEEDCORE_RAY_LAYOUT=2.54"},
		// These a raylet might not survive.
		{version: "2.61.0", fatal: "SEEDCORE_RAY_LAYOUT=2.60"},
		{version: "2.53.0", fatal: "SEEDCORE_RAY_LAYOUT=2.48"},
		{version: "2.61.0", env: "2.60"},
		{version: "2.61.0", env: "2.59", fatal: "not one of"},
		{version: "2.60.0", more: []string{"--startup-token=12"}, fatal: "in another way than that of the tested 2.60"},
		{version: "2.48.0", fatal: "in another way"},
		{version: "next", fatal: "does not tell it"},
		{version: "next", env: "2.60"},
	} {
		l, err := worker.ParseLaunch(withRay(t, test.version, test.more...), environment("SEEDCORE_RAY_LAYOUT="+test.env))
		if test.fatal != "" {
			if worker.LaunchErrorSource(err) != "Ray's version" || !strings.Contains(err.Error(), test.fatal) {
				t.Errorf("%+v: %v", test, err)
			}
			continue
		}
		if err != nil || l.Old != test.old || (l.Refusal == nil) != (test.refusal == "") || len(l.WorkerID) != 28 {
			t.Errorf("%+v: %+v, %v", test, l, err)
			continue
		}
		if l.Refusal != nil && !strings.Contains(l.Refusal.Error(), test.refusal) {
			t.Errorf("%+v: %v", test, l.Refusal)
		}
		if test.old && l.StartupToken != 12 {
			t.Errorf("token %d", l.StartupToken)
		}
	}
	args := rayletArgs()
	args[0] = "/nowhere/default_worker.py"
	if _, err := worker.ParseLaunch(args, environment()); err == nil || !strings.Contains(err.Error(), "the version of Ray is unknown") {
		t.Error(err)
	}
}
