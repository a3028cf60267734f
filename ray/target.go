package ray

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seedcore/seedcore/internal/taskevents"
	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/unary"
)

// target is one incarnation of an actor: a process, the connection to it and the order of our calls to it. An actor that
// moved is another target, and so is one whose connection broke.
//
// It lives through four stages, in this order: being connected, inside a search; current, the target of its route;
// forgotten, without new users; closed, when the last user has left. A target of which the GCS says that it is gone ends
// the calls of its users, else they end by themselves.
type target struct {
	data    *corepb.ActorTableData
	class   *actorClass
	address string // as it is dialled
	localIP string // of this process, as it was used to dial

	taskCalls map[string]*taskevents.Call // by method; nil: the calls are not reported

	credentials *Credentials
	dial        Dialer
	conn        *unary.Conn
	worker      corepb.CoreWorkerServiceClient // on conn
	taskNo      atomic.Uint64                  // unique part of task ids, from a random start
	heard       atomic.Int64                   // answers so far, failures included
	doubted     chan struct{}                  // holds one request to ask the GCS whether the actor is still here

	ctx context.Context // of the calls; its cause is why they were cut
	end context.CancelCauseFunc

	users     int  // calls under way; guarded by Direct.mu
	forgotten bool // no longer handed out; guarded by Direct.mu

	mu   sync.Mutex // guards lane and its next number
	lane *lane

	streams streamLane

	unbuilt unbuilt
}

// lane is one sequence of calls as the worker sees it: a caller id and numbers from 0 without a gap. A lane in which a
// number may have been lost is retired; calls after it use another, which the worker takes for a new caller.
type lane struct {
	caller *corepb.Address
	next   int64
}

func newLane() *lane {
	id := make([]byte, idLen)
	rand.Read(id)
	return &lane{caller: &corepb.Address{WorkerId: id, IpAddress: "127.0.0.1", Port: 1, NodeId: make([]byte, idLen)}}
}

// newTarget checks that a request to the actor can be harmless. It does no I/O.
func newTarget(data *corepb.ActorTableData, class *actorClass) (*target, error) {
	address := data.GetAddress()
	for name, pair := range map[string][2]int{
		"actor id":  {len(data.GetActorId()), actorIDLen},
		"worker id": {len(address.GetWorkerId()), idLen},
	} {
		if pair[0] != pair[1] {
			return nil, fmt.Errorf("ray: the GCS gave an %s of %d bytes instead of %d", name, pair[0], pair[1])
		}
	}
	if data.GetState() != corepb.ActorTableData_ALIVE || address.GetPort() <= 0 || address.GetPort() > 65535 {
		return nil, unavailable(data, fmt.Sprintf("state %s, port %d", data.GetState(), address.GetPort()), nil)
	}
	t := &target{data: data, class: class, lane: newLane(), doubted: make(chan struct{}, 1), streams: streamLane{turn: make(chan struct{}, 1)}}
	var seed [8]byte
	rand.Read(seed[:])
	t.taskNo.Store(binary.LittleEndian.Uint64(seed[:]))
	return t, nil
}

// connect makes the one connection that t has: a target does not outlive it. It fails with ErrUnreachable when there is none that a worker
// could be behind. ctx bounds the life of the target too.
func (t *target) connect(ctx context.Context, patience time.Duration, maxMessage int) error {
	dialling, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := t.open(dialling, maxMessage)
	if err != nil {
		return fmt.Errorf("%w at %s: %w", ErrUnreachable, t.address, err)
	}
	t.conn, t.worker = conn, corepb.NewCoreWorkerServiceClient(conn)
	t.ctx, t.end = context.WithCancelCause(ctx)
	return nil
}

func (t *target) open(ctx context.Context, maxMessage int) (*unary.Conn, error) {
	conn, err := t.dial.open(ctx, t.address)
	if err != nil {
		return nil, err
	}
	t.localIP = localIP(conn)
	conn, err = t.credentials.Secure(ctx, conn, t.address)
	if err != nil {
		return nil, err
	}
	return unary.New(ctx, conn, unary.Options{
		Authority: t.credentials.Authority(t.address), TLS: t.credentials.HasTLS(), Authorization: t.credentials.Authorization, MaxReply: maxMessage,
	})
}

var errConnectionLost = errors.New("ray: the connection to the actor's process was lost")

// place gives a call the next number of the current lane.
func (t *target) place() (*lane, int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	seq := t.lane.next
	t.lane.next++
	return t.lane, seq
}

// localIP returns this end's address of a connection.
func localIP(conn net.Conn) string {
	host, _, _ := net.SplitHostPort(conn.LocalAddr().String()) // of a TCP connection
	return host
}

// retire makes later calls start a lane of their own.
func (t *target) retire(l *lane) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lane == l {
		t.lane = newLane()
	}
}

// leave takes a user away and tells whether the target is to be closed: the connection of a forgotten one ends with its
// last user. Direct.mu is held.
func (t *target) leave() (last bool) {
	t.users--
	return t.forgotten && t.users == 0
}

// close ends the target, when nobody uses it any more. Its keeper closes the connection.
func (t *target) close() { t.end(errConnectionLost) }

// doubt has the GCS asked whether the actor is still here.
func (t *target) doubt() {
	select {
	case t.doubted <- struct{}{}:
	default: // it is going to be asked
	}
}
