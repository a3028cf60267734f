package ray_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/internal/wire/raypb"
	"github.com/seedcore/seedcore/ray"
)

// abandoned is set, to an address and a namespace, where this program is what TestAProgramThatEndsWithoutClose starts.
const abandoned = "SEEDCORE_TEST_ABANDONED"

// endWithoutClose is a program that opens a session, makes an actor, and ends without Close.
func endWithoutClose(t *testing.T, address, namespace string) {
	t.Helper()
	ctx := context.Background()
	s, err := ray.Open(ctx, ray.Config{Address: address, Namespace: namespace, ReconnectGrace: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	class, err := s.PythonClass(ctx, "drivertest", "Counter")
	if err != nil {
		t.Fatal(err)
	}
	actor, err := s.CreateActor(ctx, class, ray.ActorOptions{Name: "left"})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(actor.Call(ctx, "value"))
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	if line == "exit\n" {
		os.Exit(7) // no deferred function runs
	}
	<-ctx.Done() // never: it is killed
}

// The server lets go of a program that ended without a word, with its actors, once the grace period of its session is over.
func TestAProgramThatEndsWithoutClose(t *testing.T) {
	if address, namespace, ok := strings.Cut(os.Getenv(abandoned), " "); ok {
		endWithoutClose(t, address, namespace)
	}
	s := open(t, ray.Config{})
	base := settled(t, s)
	for _, end := range []string{"exit", "kill"} {
		t.Run(end, func(t *testing.T) {
			namespace := raytest.Namespace(t)
			program := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAProgramThatEndsWithoutClose$")
			program.Env = append(os.Environ(), abandoned+"="+raytest.Head(t).ClientAddress()+" "+namespace)
			program.Stderr = t.Output()
			in, err := program.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := program.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := program.Start(); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "0 <nil>\n" {
				t.Errorf("%q, %v", line, err)
			}
			if n := clients(t, s); n <= base {
				t.Errorf("%d clients beside the program, and %d with it", base, n)
			}
			if err := second(s.GetActor(deadline(t), "left", namespace)); err != nil {
				t.Error(err)
			}
			if end == "exit" {
				_, err = in.Write([]byte("exit\n"))
			} else {
				err = program.Process.Kill()
			}
			if err != nil {
				t.Error(err)
			}
			if err := program.Wait(); err == nil || end == "exit" && program.ProcessState.ExitCode() != 7 {
				t.Errorf("it ended with %v", program.ProcessState)
			}
			waitFor(t, "the server to forget the client", func() bool { return clients(t, s) <= base })
			waitFor(t, "its actor to be gone", func() bool {
				return errors.Is(second(s.GetActor(deadline(t), "left", namespace)), ray.ErrActorNotFound)
			})
		})
	}
}

// clients is the server's count of its clients.
func clients(t *testing.T, s *ray.Session) int {
	t.Helper()
	n, err := s.NumClients(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// settled is the count once those are gone that earlier tests left for the grace period of their sessions.
func settled(t *testing.T, s *ray.Session) (n int) {
	t.Helper()
	n = clients(t, s)
	for since := time.Now(); time.Since(since) < 3*time.Second; time.Sleep(100 * time.Millisecond) {
		if now := clients(t, s); now != n {
			n, since = now, time.Now()
		}
	}
	return n
}

// Whatever connects to the server and is no client, or breaks off while it becomes one, leaves no client behind, and no harm.
func TestGarbageLeavesNoClient(t *testing.T) {
	s := open(t, ray.Config{})
	base := settled(t, s)
	address := raytest.Head(t).ClientAddress()
	random := make([]byte, 64<<10)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	var conns []net.Conn
	for name, data := range map[string][]byte{
		"nothing":                   nil,
		"random bytes":              random,
		"a web request":             []byte("GET / HTTP/1.1\r\nHost: ray\r\n\r\n"),
		"half a preface":            []byte(preface[:10]),
		"a preface":                 []byte(preface),
		"a preface and nonsense":    append([]byte(preface), random...),
		"the beginning of TLS":      {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03},
		"settings without an end":   append([]byte(preface), 0, 0, 100, 4, 0, 0, 0, 0, 0, 0),
		"headers of no known kind":  append([]byte(preface), 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 4, 1, 5, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff),
		"a frame that is too large": append([]byte(preface), 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1),
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := conn.Write(data); err != nil && !strings.Contains(err.Error(), "reset") && !strings.Contains(err.Error(), "broken pipe") {
			t.Errorf("%s: %v", name, err)
		}
		conns = append(conns, conn)
	}
	job, err := pickle.Marshal(pickle.Call{Func: pickle.Global{Module: "ray.job_config", Name: "JobConfig.from_json"}, Args: pickle.Tuple{map[string]any{"ray_namespace": "x"}}})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		first    *raypb.DataRequest
		answered bool
	}{
		{nil, false},
		{&raypb.DataRequest{ReqId: 1, Type: &raypb.DataRequest_ConnectionInfo{ConnectionInfo: &raypb.ConnectionInfoRequest{}}}, true},
		{&raypb.DataRequest{ReqId: 1, Type: &raypb.DataRequest_Init{Init: &raypb.InitRequest{JobConfig: random[:100], ReconnectGracePeriod: 1}}}, true},
		{&raypb.DataRequest{ReqId: 1, Type: &raypb.DataRequest_Init{Init: &raypb.InitRequest{JobConfig: job, RayInitKwargs: "{}", ReconnectGracePeriod: 1}}}, false},
	} {
		conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		ctx := metadata.AppendToOutgoingContext(deadline(t), "client_id", fmt.Sprintf("%032x", i+1), "reconnecting", "False")
		stream, err := raypb.NewRayletDataStreamerClient(conn).Datapath(ctx, grpc.WaitForReady(true))
		if err == nil && c.first != nil {
			err = stream.Send(c.first)
		}
		if err != nil {
			t.Fatal(err)
		}
		if !c.answered {
			waitFor(t, "the server to count the client", func() bool { return clients(t, s) > base })
		} else if answer, err := stream.Recv(); err == nil && answer.GetInit().GetOk() {
			t.Errorf("%v was taken", c.first)
		}
		if err := conn.Close(); err != nil { // in the middle of it
			t.Error(err)
		}
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	waitFor(t, "the server to forget them", func() bool { return clients(t, s) <= base })
	if err := s.Ping(deadline(t)); err != nil {
		t.Error(err)
	}
	again := open(t, ray.Config{})
	if err := again.Ping(deadline(t)); err != nil {
		t.Error(err)
	}
}
