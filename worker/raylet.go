package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/rayletipc"
)

const (
	// connectTime bounds the attempts to connect: with many workers starting, the socket's backlog is full at times.
	connectTime  = 10 * time.Second
	connectPause = 50 * time.Millisecond
	// registerTime is Ray's worker_register_timeout_seconds: after that the raylet has given up on the process.
	registerTime = 60 * time.Second
	// sendTime bounds a write: the raylet reads at once, or is dead or stopped.
	sendTime = 5 * time.Second
)

// errDisconnected: the raylet answered our goodbye.
var errDisconnected = errors.New("disconnected")

// raylet is the connection to the node's raylet. It lives as long as the process: when it ends, so does the worker.
type raylet struct {
	conn net.Conn
	old  bool       // numbers messages as Ray before 2.54
	mu   sync.Mutex // one frame is written at a time
}

func dialRaylet(ctx context.Context, path string, old bool) (*raylet, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "unix", path)
		if err == nil {
			return &raylet{conn: conn, old: old}, nil
		}
		select {
		case <-time.After(connectPause):
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to the raylet: %w", err)
		}
	}
}

// register introduces the process and returns where the raylet wants it to listen, and the id of the node.
func (r *raylet) register(req *rayletipc.RegisterClientRequest) (*rayletipc.RegisterClientReply, error) {
	if err := r.send(rayletipc.TypeRegisterClientRequest, req.Marshal()); err != nil {
		return nil, err
	}
	if err := r.conn.SetReadDeadline(time.Now().Add(registerTime)); err != nil {
		return nil, fmt.Errorf("raylet socket: %w", err)
	}
	typ, body, err := r.read()
	if err != nil {
		return nil, fmt.Errorf("no answer to the registration at the raylet: %w", err)
	}
	if typ != rayletipc.TypeRegisterClientReply {
		return nil, fmt.Errorf("the raylet answered the registration with %v: this Ray speaks another protocol than "+testedVersions, typ)
	}
	reply, err := rayletipc.UnmarshalRegisterClientReply(body)
	if err != nil {
		return nil, err
	}
	if !reply.Success {
		return nil, fmt.Errorf("the raylet refused the registration: %s", reply.FailureReason)
	}
	if err := r.conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("raylet socket: %w", err)
	}
	return reply, nil
}

func (r *raylet) announce(port int32) error {
	return r.send(rayletipc.TypeAnnounceWorkerPort, (&rayletipc.AnnounceWorkerPort{Port: port}).Marshal())
}

func (r *raylet) actorCreated() error { return r.send(rayletipc.TypeActorCreationTaskDone, nil) }

func (r *raylet) disconnect(t corepb.WorkerExitType, detail string, exception []byte) error {
	return r.send(rayletipc.TypeDisconnectClientRequest, (&rayletipc.DisconnectClientRequest{
		ExitType: int32(t), Detail: detail, CreationTaskException: exception,
	}).Marshal())
}

func (r *raylet) send(t rayletipc.MessageType, body []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.conn.SetWriteDeadline(time.Now().Add(sendTime)); err != nil {
		return fmt.Errorf("raylet socket: %w", err)
	}
	if r.old {
		t = t.Old()
	}
	return rayletipc.WriteFrame(r.conn, t, body)
}

func (r *raylet) read() (rayletipc.MessageType, []byte, error) {
	t, body, err := rayletipc.ReadFrame(r.conn)
	if r.old {
		t = rayletipc.FromOld(t)
	}
	return t, body, err
}

// watch reads until the raylet answers a goodbye (errDisconnected) or goes away (any other error). It has nothing else
// to tell a worker without objects.
func (r *raylet) watch() error {
	for {
		typ, _, err := r.read()
		if err != nil {
			return fmt.Errorf("the raylet is gone: %w", err)
		}
		if typ == rayletipc.TypeDisconnectClientReply {
			return errDisconnected
		}
	}
}
