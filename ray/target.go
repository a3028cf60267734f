package ray

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// target is one incarnation of an actor: a process, the connection to it and the order of our calls to it. An actor that
// moved is another target.
type target struct {
	data   *corepb.ActorTableData
	class  *actorClass
	conn   *grpc.ClientConn
	worker corepb.CoreWorkerServiceClient
	taskNo atomic.Uint64 // unique part of task ids, from a random start

	users     int  // calls under way; guarded by Direct.mu
	forgotten bool // no longer handed out; guarded by Direct.mu

	mu   sync.Mutex // guards lane and its next number
	lane *lane
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

// What a worker may send before it is read, in one answer and in all, in bytes.
const (
	directStreamWindow = 4 << 20
	directConnWindow   = 16 << 20
)

// newTarget checks that a request to the actor can be harmless and prepares the connection. It does no I/O.
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
		return nil, fmt.Errorf("%w: state %s, port %d", ErrActorUnavailable, data.GetState(), address.GetPort())
	}
	conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(address.GetIpAddress(), strconv.Itoa(int(address.GetPort()))),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(directMaxMessage), grpc.MaxCallSendMsgSize(directMaxMessage)),
		// Fixed windows: to find better ones gRPC would send a ping along with every answer.
		grpc.WithStaticStreamWindowSize(directStreamWindow),
		grpc.WithStaticConnWindowSize(directConnWindow),
		grpc.WithStatsHandler(sentWatcher{}),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig())
	if err != nil {
		return nil, fmt.Errorf("ray: address of the actor's worker: %w", err)
	}
	t := &target{data: data, class: class, conn: conn, worker: corepb.NewCoreWorkerServiceClient(conn), lane: newLane()}
	var seed [8]byte
	rand.Read(seed[:])
	t.taskNo.Store(binary.LittleEndian.Uint64(seed[:]))
	return t, nil
}

// request numbers a call and writes it out. Fields that a Python worker checks with a fatal assertion are marked.
func (t *target) request(method string, args []*corepb.TaskArg) (*corepb.PushTaskRequest, *lane) {
	actorID := t.data.GetActorId()
	taskID := make([]byte, taskIDLen) // fatal: length
	binary.LittleEndian.PutUint64(taskID, t.taskNo.Add(1))
	copy(taskID[8:], actorID)

	t.mu.Lock()
	lane := t.lane
	seq := lane.next
	lane.next++
	t.mu.Unlock()

	return &corepb.PushTaskRequest{
		IntendedWorkerId:    t.data.GetAddress().GetWorkerId(),
		SequenceNumber:      seq, // fatal: negative
		ClientProcessedUpTo: -1,  // anything else makes the worker drop older calls of ours that still wait
		TaskSpec: &corepb.TaskSpec{
			Type:                            corepb.TaskType_ACTOR_TASK, // fatal: NORMAL_TASK
			Name:                            method,
			Language:                        corepb.Language_PYTHON,
			FunctionDescriptor:              t.class.descriptor(method),    // fatal: unknown method or class, any hash
			JobId:                           actorID[actorIDLen-jobIDLen:], // fatal: another job than the actor's
			TaskId:                          taskID,                        //
			CallerAddress:                   lane.caller,                   // fatal: length of the worker id
			Args:                            args,                          // fatal: an argument with neither data nor metadata
			NumReturns:                      1,                             //
			GeneratorBackpressureNumObjects: -1,                            // fatal: 0, the default of the wire
			ActorTaskSpec:                   &corepb.ActorTaskSpec{ActorId: actorID, ConcurrencyGroupSequenceNumber: uint64(seq)},
		},
	}, lane
}

// retire makes later calls start a lane of their own.
func (t *target) retire(l *lane) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lane == l {
		t.lane = newLane()
	}
}

func (t *target) close() error { return t.conn.Close() }

// exchange is one request and its answer.
type exchange struct {
	done  chan struct{}
	reply *corepb.PushTaskReply
	err   error
	left  atomic.Bool // the request was handed to the network
}

func (x *exchange) sent() Sent {
	if x.left.Load() {
		return SentMaybe
	}
	return SentNo
}

type exchangeKey struct{}

// sentWatcher notes when gRPC hands a request to the network, since the status of a failed call does not tell whether
// that had happened: UNAVAILABLE is both a refused connection and one that broke while the method ran.
type sentWatcher struct{}

func (sentWatcher) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (sentWatcher) HandleRPC(ctx context.Context, s stats.RPCStats) {
	switch s.(type) {
	case *stats.OutHeader, *stats.OutPayload:
		if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
			x.left.Store(true)
		}
	}
}

func (sentWatcher) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (sentWatcher) HandleConn(context.Context, stats.ConnStats) {}

// refusedUnrun begins the text with which a Go worker refuses a call that it did not run.
const refusedUnrun = "worker: "

// classifyPush turns the gRPC error of a PushTask into the vocabulary of this package.
func classifyPush(err error, sent Sent) (Sent, error) {
	switch s := status.Convert(err); s.Code() {
	case codes.Unavailable:
		if strings.HasPrefix(s.Message(), refusedUnrun) {
			sent = SentNo
		}
		return sent, fmt.Errorf("%w: %s", ErrActorUnavailable, s.Message())
	case codes.Aborted:
		// The worker refused the request: another incarnation listens there ("Invalid"), or it ended while running it.
		if s.Message() == "Invalid" {
			return SentNo, fmt.Errorf("%w: the worker refused the call as stale", ErrActorUnavailable)
		}
		return sent, fmt.Errorf("%w: %s", ErrActorUnavailable, s.Message())
	case codes.ResourceExhausted:
		if sent == SentNo {
			return sent, fmt.Errorf("%w: %s", ErrUnsupportedValue, s.Message())
		}
		if strings.HasPrefix(s.Message(), refusedUnrun) {
			sent = SentNo
		}
		return sent, fmt.Errorf("%w: %s", ErrOverloaded, s.Message())
	case codes.Unauthenticated:
		return SentNo, fmt.Errorf("ray: the worker wants a token: %w", err)
	case codes.Canceled, codes.DeadlineExceeded:
		return sent, errors.Join(err, context.DeadlineExceeded)
	default:
		return sent, err
	}
}
