package worker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

var (
	// ErrStreaming is wrapped by the refusal of a call that wants the results of a streaming method as one value.
	ErrStreaming = errors.New("the method streams its results")
	// ErrNotStreaming is wrapped by the refusal of a call that wants a stream from a method that returns values.
	ErrNotStreaming = errors.New("the method does not stream its results")
	// ErrStreamsUntested is wrapped by the refusal of a call that wants a stream on a version of Ray on which streams of Go
	// actors were not tested. The method did not run.
	ErrStreamsUntested = errors.New("Go actors stream on Ray 2.60 only") //nolint:staticcheck // a name
)

func errStreaming(method string) error {
	return fmt.Errorf("%w: in Go call it by ray.Direct.Stream; in Python declare %[2]s as a generator, with a yield, in the class that the actor is "+
		"made of, and iterate over handle.%[2]s.remote(): num_returns=\"streaming\" is refused for methods that are none", ErrStreaming, method)
}

const (
	// reportsInFlight bounds the items of one stream that are on their way, whatever the caller allows.
	reportsInFlight = 64
	// reportTime is for how long an item is offered to a caller that cannot be reached, reportPause how often.
	reportTime, reportPause = 5 * time.Second, 200 * time.Millisecond
	// firstAsk is for how long a stream that is held back waits for its caller to take items before it asks whether the
	// caller still wants any, maxAsk the longest time between two such questions.
	firstAsk, maxAsk = time.Second, 10 * time.Second
	// firstItem is the number of a stream's first item among the objects of its task: the task's own result is number 1.
	firstItem = 2
)

// sequence tells whether a result is an iter.Seq or iter.Seq2 with an error, and brings it into one form.
func sequence(result any) (iter.Seq2[any, error], bool) {
	switch s := result.(type) {
	case iter.Seq2[any, error]:
		return s, s != nil
	case iter.Seq[any]:
		return func(yield func(any, error) bool) {
			s(func(v any) bool { return yield(v, nil) })
		}, s != nil
	}
	v := reflect.ValueOf(result)
	if !v.IsValid() || !streams(v.Type()) || v.IsNil() {
		return nil, false
	}
	if v.Type().CanSeq() {
		return func(yield func(any, error) bool) {
			for item := range v.Seq() {
				if !yield(item.Interface(), nil) {
					return
				}
			}
		}, true
	}
	return func(yield func(any, error) bool) {
		for item, failed := range v.Seq2() {
			err, _ := failed.Interface().(error)
			if !yield(item.Interface(), err) {
				return
			}
		}
	}, true
}

// streams tells whether a type is that of a stream of items.
func streams(t reflect.Type) bool {
	if t.Kind() != reflect.Func {
		return false
	}
	return t.CanSeq() || t.CanSeq2() && t.In(0).In(1) == errorType
}

// itemType returns the type of the items of a stream.
func itemType(t reflect.Type) reflect.Type { return t.In(0).In(0) }

// owners are the processes that own streams, by their address. A worker that streams has connections to few.
type owners struct {
	mu      sync.Mutex // guards the fields below
	conns   map[string]*ownerConn
	streams map[string]*itemStream // that are being made, by generator id
}

type ownerConn struct {
	conn  *grpc.ClientConn
	users int
}

func (o *owners) start(s *itemStream, a access) error {
	address := fmt.Sprintf("%s:%d", s.owner.GetIpAddress(), s.owner.GetPort())
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conns == nil {
		o.conns, o.streams = map[string]*ownerConn{}, map[string]*itemStream{}
	}
	c := o.conns[address]
	if c == nil {
		options, _ := a.credentials.DialOptions(address) // the raylet has warned of what there is to warn of
		conn, err := grpc.NewClient("passthrough:///"+address, append(options, grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
			grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(maxMessage)))...)
		if err != nil {
			return fmt.Errorf("the caller's address %s: %w", address, err)
		}
		c = &ownerConn{conn: conn}
		o.conns[address] = c
	}
	c.users++
	s.address, s.client = address, corepb.NewCoreWorkerServiceClient(c.conn)
	o.streams[string(s.generatorID)] = s
	return nil
}

func (o *owners) end(s *itemStream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if id := string(s.generatorID); o.streams[id] == s { // another attempt of the task may have the name by now
		delete(o.streams, id)
	}
	if c := o.conns[s.address]; c != nil {
		if c.users--; c.users == 0 {
			delete(o.conns, s.address)
			_ = c.conn.Close() // nothing is in flight on it
		}
	}
}

func (o *owners) find(generatorID []byte) *itemStream {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.streams[string(generatorID)]
}

// UpdateGeneratorBackpressureConsumed lets a stream go on whose caller has taken items.
func (w *coreWorker) UpdateGeneratorBackpressureConsumed(_ context.Context, req *corepb.UpdateGeneratorBackpressureConsumedRequest) (*corepb.UpdateGeneratorBackpressureConsumedReply, error) {
	if s := w.owners.find(req.GetGeneratorId()); s != nil {
		s.setConsumed(req.GetTotalNumObjectConsumed())
	}
	return &corepb.UpdateGeneratorBackpressureConsumedReply{}, nil
}

// itemStream hands the items of one call to the process that owns them, as Ray's own workers do: each by an RPC, several
// at a time, and all before the call is answered.
type itemStream struct {
	// ctx is that of the actor: an item that was made is handed over also when the call is cancelled, else its caller would
	// wait for it.
	ctx                 context.Context
	taskID, generatorID []byte
	attempt             uint64
	owner, worker       *corepb.Address
	limit               int64 // how many items may be made before the caller has taken them; below 0: any number
	address             string
	client              corepb.CoreWorkerServiceClient
	slots               chan struct{} // a token for each report under way
	reports             sync.WaitGroup
	more                chan struct{} // holds a token when consumed has changed
	gone                chan struct{} // closed when the caller takes no more

	made int64 // of the goroutine that makes items

	mu       sync.Mutex // guards the fields below
	consumed int64
	failed   error // why the caller takes no more
}

func (w *coreWorker) newItemStream(ctx context.Context, spec *corepb.TaskSpec) (*itemStream, error) {
	limit := spec.GetGeneratorBackpressureNumObjects()
	if limit == 0 {
		return nil, errors.New("generator_backpressure_num_objects has to be -1 or above 0")
	}
	s := &itemStream{
		ctx: ctx, taskID: spec.GetTaskId(), generatorID: objectID(spec.GetTaskId(), 1), attempt: uint64(max(spec.GetAttemptNumber(), 0)), owner: spec.GetCallerAddress(), limit: limit,
		worker: &corepb.Address{NodeId: w.nodeID, IpAddress: w.nodeIP, Port: w.port, WorkerId: w.workerID}, // fatal for the caller: no node
		slots:  make(chan struct{}, reportsInFlight), more: make(chan struct{}, 1), gone: make(chan struct{}),
	}
	return s, w.owners.start(s, w.launch.access)
}

func objectID(taskID []byte, index uint32) []byte {
	return binary.LittleEndian.AppendUint32(append(make([]byte, 0, taskIDSize+4), taskID...), index)
}

// send hands over the next item, when the caller has room for it.
func (s *itemStream) send(ctx context.Context, v value) error {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.gone:
		return s.failure()
	}
	index := s.made
	s.made++
	s.reports.Go(func() {
		defer func() { <-s.slots }()
		s.report(s.ctx, index, v)
	})
	if s.limit > 0 && s.unconsumed() >= s.limit {
		return s.waitForRoom(ctx, index, v)
	}
	return nil
}

// waitForRoom waits until the caller has taken enough of what was made; v is the item made last.
func (s *itemStream) waitForRoom(ctx context.Context, index int64, v value) error {
	patience := time.NewTimer(firstAsk)
	defer patience.Stop()
	for s.unconsumed() >= s.limit {
		select {
		case <-s.more:
		case <-patience.C:
			asking, stop := context.WithCancel(ctx)
			defer stop()
			s.reports.Go(func() { s.ask(asking, index, v) })
		case <-ctx.Done():
			return ctx.Err()
		case <-s.gone:
			return s.failure()
		}
	}
	return nil
}

// ask offers an item again, now and then, to learn whether the caller still wants items: Ray does not tell when a Python
// caller has dropped its generator (Ray's own actors then wait for ever), but it refuses what comes for one. The caller
// knows an item that it got twice. That it cannot be reached is not asked here: the connection of the call tells.
func (s *itemStream) ask(ctx context.Context, index int64, v value) {
	req := s.item(index, v)
	for pause := firstAsk; ; pause = min(2*pause, maxAsk) {
		reply, err := s.client.ReportGeneratorItemReturns(ctx, req)
		switch {
		case err == nil:
			s.setConsumed(reply.GetTotalNumObjectConsumed())
		case ctx.Err() != nil:
			return
		case status.Code(err) != codes.Unavailable:
			s.fail(s.refusal(err))
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// errDropped is wrapped by the end of a stream whose caller has dropped it, which is no failure of the method.
var errDropped = errors.New("the caller has dropped the stream")

// refusal is what it means that the caller did not take an item.
func (s *itemStream) refusal(err error) error {
	if code := status.Code(err); code == codes.NotFound || code == codes.Aborted { // so do callers in Go and those in Ray's core
		return fmt.Errorf("%w: %w", errDropped, err)
	}
	return fmt.Errorf("the caller of the stream at %s takes no more items: %w", s.address, err)
}

func (s *itemStream) item(index int64, v value) *corepb.ReportGeneratorItemReturnsRequest {
	return &corepb.ReportGeneratorItemReturnsRequest{
		ReturnedObjects: []*corepb.ReturnObject{{
			ObjectId: objectID(s.taskID, uint32(index+firstItem)), Data: v.data, Metadata: v.metadata, Size: int64(len(v.data)),
		}},
		WorkerAddr: s.worker, ItemIndex: index, GeneratorId: s.generatorID, AttemptNumber: s.attempt,
	}
}

func (s *itemStream) report(ctx context.Context, index int64, v value) {
	req := s.item(index, v)
	for end := time.Now().Add(reportTime); ; {
		reply, err := s.client.ReportGeneratorItemReturns(ctx, req)
		if err == nil {
			s.setConsumed(reply.GetTotalNumObjectConsumed())
			return
		}
		if ctx.Err() != nil {
			return
		}
		if status.Code(err) != codes.Unavailable || time.Now().After(end) {
			s.fail(s.refusal(err))
			return
		}
		select {
		case <-time.After(reportPause): // the caller knows an item that it got twice
		case <-ctx.Done():
			return
		}
	}
}

func (s *itemStream) unconsumed() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made - s.consumed
}

func (s *itemStream) setConsumed(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.consumed = max(s.consumed, n)
	select {
	case s.more <- struct{}{}:
	default:
	}
}

func (s *itemStream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = err
		close(s.gone)
	}
}

func (s *itemStream) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// returned lists what was handed over, for the answer to the call.
func (s *itemStream) returned() []*corepb.StreamingGeneratorReturnIdInfo {
	ids := make([]*corepb.StreamingGeneratorReturnIdInfo, s.made)
	for i := range ids {
		ids[i] = &corepb.StreamingGeneratorReturnIdInfo{ObjectId: objectID(s.taskID, uint32(i+firstItem))}
	}
	return ids
}

var errCallerGone = errors.New("the caller of the stream is gone")

// streamCall runs a method that streams. Its error comes to the caller as the last item. When rpc ends, the caller, who
// owns the items, is gone: the method would wait forever for it to take some.
func (w *coreWorker) streamCall(ctx, rpc context.Context, a *actor, c *call, spec *corepb.TaskSpec) (*corepb.PushTaskReply, error) {
	if !w.launch.layout.streams {
		return w.failure(spec, a.class+"."+c.method, fmt.Errorf("%w, and this is %s: call a method that returns its values together", ErrStreamsUntested, w.launch.rayVersion))
	}
	s, err := w.newItemStream(a.ctx, spec)
	if err != nil {
		return w.failure(spec, a.class+"."+c.method, err)
	}
	defer w.owners.end(s)
	defer context.AfterFunc(rpc, func() { s.fail(errCallerGone) })()
	_, err = traced(rpc, ctx, w.tracer, c.method, spec, func(ctx context.Context) (struct{}, error) { return struct{}{}, w.makeItems(ctx, a, c, spec, s) })
	var answer *corepb.PushTaskReply
	switch {
	case err == nil:
		var none []value
		if none, err = encodeResults(nil, spec.GetNumReturns()); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
		answer = reply(spec, none)
	case a.calls.wasCancelled(c):
		if answer, err = w.cancelled(spec, err); err != nil {
			return nil, err
		}
	default:
		if answer, err = w.failure(spec, a.class+"."+c.method, err); err != nil {
			return nil, err
		}
		if s.made > 0 && len(answer.GetReturnObjects()) > 0 && ctx.Err() == nil && s.failure() == nil { // after items, as one of them
			last := answer.GetReturnObjects()[0]
			_ = s.send(ctx, value{last.GetData(), last.GetMetadata()})
			none, err := encodeResult(nil)
			if err != nil {
				return nil, status.Error(codes.Internal, err.Error())
			}
			last.Data, last.Metadata, last.Size = none.data, none.metadata, int64(len(none.data))
		}
	}
	s.reports.Wait()
	answer.StreamingGeneratorReturnIds = s.returned()
	return answer, nil
}

// makeItems runs the method and sends what it makes.
func (w *coreWorker) makeItems(ctx context.Context, a *actor, c *call, spec *corepb.TaskSpec, s *itemStream) error {
	result, err := w.result(ctx, a, c, spec)
	if err != nil {
		return err
	}
	items, ok := sequence(result)
	if !ok {
		return fmt.Errorf("%w: %s returned a %T; call it without num_returns=\"streaming\"", ErrNotStreaming, c.method, result)
	}
	for item, err := range items {
		if err != nil {
			return err
		}
		v, err := encodeResult(item)
		if err != nil {
			return fmt.Errorf("%w (item %d)", err, s.made)
		}
		if err := s.send(ctx, v); errors.Is(err, errDropped) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return ctx.Err()
}
