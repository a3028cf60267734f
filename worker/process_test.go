package worker_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/rayletipc"
	"github.com/seedcore/seedcore/worker"
)

func TestAWorkerIntroducesItself(t *testing.T) {
	h := start(t, things(t, nil), worker.DefaultLimits)
	if r := h.request; r.WorkerType != 0 || r.Language != 0 || !bytes.Equal(r.WorkerID, workerID) || r.PID != int64(os.Getpid()) ||
		!bytes.Equal(r.JobID, jobID) || r.RuntimeEnvHash != -7 || r.IP != "127.0.0.1" || r.Port != 0 {
		t.Errorf("%+v", r)
	}
	h.serve().create(1)
	if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.2:%d", h.port)); err == nil {
		_ = conn.Close()
		t.Error("a node with a loopback address only is served beyond it")
	}
	select {
	case info := <-h.infos:
		a := info.GetWorkerAddress()
		if !info.GetIsAlive() || info.GetPid() != uint32(os.Getpid()) || info.GetWorkerLaunchTimeMs() != 5 || info.GetStartTimeMs() == 0 ||
			!bytes.Equal(a.GetWorkerId(), workerID) || !bytes.Equal(a.GetNodeId(), nodeID) || a.GetPort() != h.port || a.GetIpAddress() != "127.0.0.1" {
			t.Errorf("%v", info)
		}
	case <-time.After(patience):
		t.Errorf("the GCS does not know the worker; log: %s", h.logs)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(h.captured, []string{"Thing" + string(jobID)}) {
		t.Errorf("output was captured for %q", h.captured)
	}
	h.logged("actor created")
}

func TestAWorkerThatIsNotWantedExits(t *testing.T) {
	for text, answer := range map[string]func(*host){
		"refused the registration: too late": func(h *host) {
			h.send(rayletipc.TypeRegisterClientReply, (&rayletipc.RegisterClientReply{FailureReason: "too late"}).Marshal())
		},
		"speaks another protocol": func(h *host) { h.send(rayletipc.TypeDisconnectClientReply, nil) },
		"malformed message":       func(h *host) { h.send(rayletipc.TypeRegisterClientReply, []byte("what is this")) },
		"Ray's cookie":            func(h *host) { _, _ = h.conn.Write(make([]byte, 24)) },
		"no answer":               func(h *host) { _ = h.conn.Close() },
		"listen on the port": func(h *host) {
			h.send(rayletipc.TypeRegisterClientReply, (&rayletipc.RegisterClientReply{Success: true, Port: -1}).Marshal())
		},
	} {
		h := start(t, things(t, nil), worker.DefaultLimits)
		answer(h)
		h.exits(1)
		h.logged(text)
	}
}

func TestTheEndOfTheRayletIsTheEndOfTheWorker(t *testing.T) {
	for text, end := range map[string]func(*host){
		"the raylet is gone: EOF": func(h *host) { _ = h.conn.Close() },
		"malformed message":       func(h *host) { _, _ = h.conn.Write(bytes.Repeat([]byte{1}, 24)) },
		"disconnected":            func(h *host) { h.send(rayletipc.TypeDisconnectClientReply, nil) }, // nobody said goodbye
	} {
		h := holding(t, make(chan struct{}))
		h.send(99, []byte("an unknown message is ignored"))
		end(h)
		h.exits(1)
		h.logged(text)
	}
}

// holding starts an actor with a method that runs until its context ends.
func holding(t *testing.T, cancelled chan struct{}) *host {
	t.Helper()
	entered := make(chan struct{})
	h := actor(t, methods{"hold": func(_ *thing, ctx context.Context, _ worker.Args) (any, error) {
		close(entered)
		<-ctx.Done()
		close(cancelled)
		return "let go", nil
	}})
	h.async(h.task("hold"))
	<-entered
	return h
}

type outcome struct {
	reply *corepb.PushTaskReply
	err   error
}

func (h *host) async(req *corepb.PushTaskRequest) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		reply, err := h.client.PushTask(h.context(), req)
		done <- outcome{reply, err}
	}()
	return done
}

func TestSigtermEndsInOrder(t *testing.T) {
	entered := make(chan struct{})
	h := actor(t, methods{"hold": func(_ *thing, ctx context.Context, _ worker.Args) (any, error) {
		close(entered)
		<-ctx.Done()
		return "let go", nil
	}})
	running := h.async(h.task("hold"))
	<-entered
	queued := h.async(h.task("echo", "never"))
	h.eventually(func(s *corepb.CoreWorkerStats) bool { return s.GetTaskQueueLength() == 1 })
	h.sigterm()
	if m := h.goodbye(); m.ExitType != int32(corepb.WorkerExitType_INTENDED_SYSTEM_EXIT) || !strings.Contains(m.Detail, "SIGTERM") || m.CreationTaskException != nil {
		t.Errorf("%+v", m)
	}
	h.exits(0)
	if r := <-running; r.err != nil || string(r.reply.GetReturnObjects()[0].GetMetadata()) != "XLANG" {
		t.Errorf("a method that ends in time is answered, not %v", r.err)
	}
	if r := <-queued; status.Code(r.err) != codes.Unavailable || !strings.Contains(r.err.Error(), "not run") {
		t.Errorf("queued: %v", r.err)
	}
}

func TestAnExitDoesNotWaitForEver(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	h := actor(t, methods{"stubborn": func(*thing, context.Context, worker.Args) (any, error) {
		close(entered)
		<-release
		return nil, nil
	}})
	defer close(release)
	h.async(h.task("stubborn"))
	<-entered
	h.sigterm()
	h.receives(rayletipc.TypeDisconnectClientRequest) // no answer
	h.exits(1)
	h.logged("methods still run")
	h.logged("did not answer the goodbye")
}

func TestKillActor(t *testing.T) {
	kill := func(h *host, id []byte, force bool) (*metadata.MD, error) {
		var trailer metadata.MD
		_, err := h.client.KillActor(h.context(), &corepb.KillActorRequest{IntendedActorId: id, ForceKill: force}, grpc.Trailer(&trailer))
		return &trailer, err
	}
	for _, force := range []bool{true, false} {
		cancelled := make(chan struct{})
		h := holding(t, cancelled)
		trailer, err := kill(h, bytes.Repeat([]byte{9}, 16), force)
		refused(t, err, *trailer, "Invalid", "mismatched ActorID")
		if force {
			_, _ = kill(h, actorID, true) // the process may end before it answers
			h.receives(rayletipc.TypeDisconnectClientRequest)
			h.exits(1)
			select {
			case <-cancelled:
				t.Error("the method was told, and would have answered its caller as if nothing had happened")
			default:
			}
		} else {
			if _, err := kill(h, actorID, false); err != nil {
				t.Error(err)
			}
			if m := h.goodbye(); m.ExitType != int32(corepb.WorkerExitType_INTENDED_SYSTEM_EXIT) {
				t.Errorf("%+v", m)
			}
			h.exits(0)
			<-cancelled
		}
	}
}

// An actor whose constructor does not return can be killed, and its creation is not answered as if it were there.
func TestKillActorWhileItIsConstructed(t *testing.T) {
	for _, force := range []bool{true, false} {
		var r worker.Registry
		constructing := make(chan struct{})
		err := worker.RegisterIn(&r, "Thing", func(ctx context.Context) (*thing, error) {
			close(constructing)
			<-ctx.Done()
			return nil, ctx.Err()
		}, worker.Methods[*thing]{"echo": func(*thing, context.Context, worker.Args) (any, error) { return nil, nil }})
		if err != nil {
			t.Fatal(err)
		}
		h := start(t, &r, worker.DefaultLimits).serve()
		answered := h.async(creation(t, "Thing", 1))
		<-constructing
		_, err = h.client.KillActor(h.context(), &corepb.KillActorRequest{IntendedActorId: actorID, ForceKill: force})
		if force { // the process may end before it answers
			h.receives(rayletipc.TypeDisconnectClientRequest)
			h.exits(1)
		} else {
			if err != nil {
				t.Error(err)
			}
			if m := h.goodbye(); m.ExitType != int32(corepb.WorkerExitType_INTENDED_SYSTEM_EXIT) {
				t.Errorf("%+v", m)
			}
			h.exits(0)
			if log := h.logs.String(); strings.Contains(log, "still run") {
				t.Errorf("a constructor that heeds its context was waited for: %s", log)
			}
			if r := <-answered; r.err == nil {
				t.Errorf("the creation was answered: %v", r.reply)
			}
		}
	}
}

// Who asks a process to end waits for a constructor no longer than for a method.
func TestSigtermWhileTheActorIsConstructed(t *testing.T) {
	for name, test := range map[string]struct {
		construct func(ctx context.Context, release <-chan struct{}) (*thing, error)
		says      string
	}{
		"heeds":   {func(ctx context.Context, _ <-chan struct{}) (*thing, error) { <-ctx.Done(); return nil, ctx.Err() }, ""},
		"panics":  {func(ctx context.Context, _ <-chan struct{}) (*thing, error) { <-ctx.Done(); panic("in time") }, ""},
		"is done": {func(ctx context.Context, _ <-chan struct{}) (*thing, error) { <-ctx.Done(); return &thing{}, nil }, ""},
		"ignores": {func(_ context.Context, release <-chan struct{}) (*thing, error) { <-release; return nil, nil }, "the constructor still runs"},
	} {
		t.Run(name, func(t *testing.T) {
			constructing, release := make(chan struct{}), make(chan struct{})
			defer close(release)
			var r worker.Registry
			err := worker.RegisterIn(&r, "Thing", func(ctx context.Context) (*thing, error) {
				close(constructing)
				return test.construct(ctx, release)
			}, worker.Methods[*thing]{"echo": func(*thing, context.Context, worker.Args) (any, error) { return nil, nil }})
			if err != nil {
				t.Fatal(err)
			}
			h := start(t, &r, worker.DefaultLimits).serve()
			h.async(creation(t, "Thing", 1))
			<-constructing
			h.sigterm()
			if name == "is done" {
				h.receives(rayletipc.TypeActorCreationTaskDone)
			}
			if m := h.goodbye(); m.ExitType != int32(corepb.WorkerExitType_INTENDED_SYSTEM_EXIT) || m.CreationTaskException != nil {
				t.Errorf("%+v", m)
			}
			h.exits(0)
			if test.says != "" {
				h.logged(test.says)
			}
			if log := h.logs.String(); test.says == "" && strings.Contains(log, "still run") || strings.Contains(log, "methods still run") {
				t.Errorf("it was waited for: %s", log)
			}
		})
	}
}

func TestExitIsForUnusedWorkers(t *testing.T) {
	exit := func(h *host, force bool) bool {
		reply, err := h.client.Exit(h.context(), &corepb.ExitRequest{ForceExit: force})
		if err != nil {
			t.Fatal(err)
		}
		return reply.GetSuccess()
	}
	unused := start(t, things(t, nil), worker.DefaultLimits).serve()
	if !exit(unused, false) {
		t.Error("an unused worker stays")
	}
	unused.goodbye()
	unused.exits(0)
	used := actor(t, nil)
	if exit(used, false) {
		t.Error("an actor is not unused")
	}
	used.call("echo", "still here")
	if !exit(used, true) {
		t.Error("force")
	}
	used.goodbye()
	used.exits(0)
}

func TestTerminateEndsTheActorForGood(t *testing.T) {
	h := actor(t, nil)
	req := h.task("__ray_terminate__")
	reply := h.push(req)
	if values := h.values(req, reply); !reply.GetWorkerExiting() || len(values) != 1 || values[0] != nil {
		t.Errorf("%v", reply)
	}
	if m := h.goodbye(); m.ExitType != int32(corepb.WorkerExitType_INTENDED_USER_EXIT) {
		t.Errorf("%+v", m)
	}
	h.exits(0)
}

// With token authentication a worker answers only those who have the token of its raylet.
func TestCallersNeedTheToken(t *testing.T) {
	env := environment("RAY_AUTH_MODE=token", "RAY_AUTH_TOKEN=of-the-cluster")
	h := startAs(t, things(t, nil), worker.DefaultLimits, &worker.Launch{Environment: env}).serve()
	for bearer, want := range map[string]codes.Code{"": codes.Unauthenticated, "Bearer another": codes.Unauthenticated, "Bearer of-the-cluster": codes.OK} {
		ctx := h.context()
		if bearer != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", bearer)
		}
		_, err := h.client.GetCoreWorkerStats(ctx, &corepb.GetCoreWorkerStatsRequest{IntendedWorkerId: workerID})
		if status.Code(err) != want {
			t.Errorf("%q: %v, not %v", bearer, err, want)
		}
	}
}
