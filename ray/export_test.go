package ray

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"io"
	"log/slog"
	"net"
	"time"
	"weak"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// ErrTransfer is what chunks that do not fit together end with.
var ErrTransfer = errTransfer

// Assembler puts chunks together.
type Assembler struct{ a assembler }

func (a *Assembler) Add(c *raypb.GetResponse) (bool, error) { return a.a.add(c) }
func (a *Assembler) Expect(size uint64)                     { a.a.expected = size }
func (a *Assembler) Next() int32                            { return a.a.next() }
func (a *Assembler) Bytes() []byte                          { return a.a.bytes() }

// Messages returns the messages of a request.
func Messages(req *raypb.DataRequest, from int32) []*raypb.DataRequest {
	var all []*raypb.DataRequest
	content := contentOf(req)
	for i := range content.chunks() {
		if req.GetGet() != nil {
			i = from
		}
		data, err := dataCodec{}.Marshal(&outgoing{req: req, content: content, chunk: i})
		if err != nil {
			panic(err)
		}
		m := &raypb.DataRequest{}
		if err := proto.Unmarshal(data.Materialize(), m); err != nil {
			panic(err)
		}
		data.Free()
		all = append(all, m)
	}
	return all
}

// Receiver reads messages of the server, one after the other.
type Receiver struct{ in incoming }

func (r *Receiver) Receive(data mem.BufferSlice) (*raypb.DataResponse, error) {
	err := dataCodec{}.Unmarshal(data, &r.in)
	return r.in.resp, err
}

// ReadPiece reads a message of the answer to GetObject as if it were all there is, and returns what it says.
func ReadPiece(message mem.BufferSlice) (*raypb.GetResponse, error) {
	p := piece{object: &assembler{}}
	at, err := p.read(message)
	if err != nil {
		return nil, err
	}
	got := proto.CloneOf(&p.head)
	got.Data = message.Materialize()[at:][:p.size]
	err = objectCodec{}.Unmarshal(message, &p)
	if p.complete {
		got.Data = p.object.bytes()
	}
	return got, err
}

const (
	LargestMessage = largestMessage
	ChunkSize      = chunkSize
)

// Outbox drives the book of unanswered requests without a session.
type Outbox struct{ o *outbox }

// Request is one of its requests.
type Request struct{ r *request }

func NewOutbox(requests int, bytes int64) *Outbox { return &Outbox{newOutbox(requests, bytes)} }

// Add queues a get, or a put of so many bytes.
func (o *Outbox) Add(get bool, size int) (*Request, error) {
	r := &request{target: "test", size: int64(size)}
	if get {
		r.object = &assembler{}
		r.msg = &raypb.DataRequest{Type: &raypb.DataRequest_Get{Get: &raypb.GetRequest{}}}
	} else {
		r.msg = &raypb.DataRequest{Type: &raypb.DataRequest_Put{Put: &raypb.PutRequest{Data: make([]byte, size)}}}
	}
	return &Request{r}, o.o.add(r)
}

// Gone returns a function that reports whether nothing holds the request any more.
func (r *Request) Gone() func() bool {
	p := weak.Make(r.r)
	return func() bool { return p.Value() == nil }
}

// Take returns what the sender is to send: an acknowledgement or a request.
func (o *Outbox) Take() (ack int32, r *Request, err error) {
	ack, taken, err := o.o.take()
	if taken != nil {
		r = &Request{taken}
	}
	return ack, r, err
}

// Accept takes an answer, and finishes the request that it completes.
func (o *Outbox) Accept(resp *raypb.DataResponse) *Request {
	r := o.o.accept(resp)
	if r == nil {
		return nil
	}
	o.o.finish(r)
	return &Request{r}
}

// Withdraw takes the caller away and reports whether the request was dropped unsent.
func (o *Outbox) Withdraw(r *Request) (unsent bool) { return o.o.withdraw(r.r) == stateNew }

// Replay returns what a new stream starts with.
func (o *Outbox) Replay() []*Request {
	again, dropped := o.o.replay()
	for _, r := range dropped {
		o.o.finish(r)
	}
	out := make([]*Request, len(again))
	for i, r := range again {
		out[i] = &Request{r}
	}
	return out
}

func (o *Outbox) Fail(err error)                    { o.o.fail(err) }
func (o *Outbox) Refuse(err error)                  { o.o.refuse(err) }
func (o *Outbox) Drained() <-chan struct{}          { return o.o.drained() }
func (o *Outbox) Counts() (queued, sent, inUse int) { return o.o.counts() }
func (o *Outbox) Bytes() int64                      { return o.o.bytes }

// SetLastID makes the next request take the id behind it.
func (o *Outbox) SetLastID(id int32) { o.o.lastID = id }

func (r *Request) ID() int32              { return r.r.msg.ReqId }
func (r *Request) Is(other *Request) bool { return r.r == other.r }
func (r *Request) IsGet() bool            { return r.r.object != nil }
func (r *Request) Err() error             { return r.r.err }
func (r *Request) Done() bool {
	select {
	case <-r.r.done:
		return true
	default:
		return false
	}
}

// FailureOf reads a pickled exception.
func FailureOf(target string, data []byte) error { return failureOf(target, data) }

// DirectFailure reads what stands in place of the result of a direct call.
func DirectFailure(target string, kind int, data []byte) error {
	return decodeFailure(target, kind, data)
}

// StubSource returns the Python source of a stub class.
func StubSource(name string, methods []string, groups ...ConcurrencyGroup) (string, error) {
	return stubSource(name, methods, groups...)
}

// Stale plays the race between a release and the get of a value that names the released ref: the get was sent first. It
// reports whether the value is taken as it is, when the release was only queued, when it was sent, and when the value was
// asked for again.
func Stale() (queued, sent, again bool) {
	s := &Session{out: newOutbox(10, 10), done: make(chan struct{})}
	s.refs = newReferences(s)
	h := s.refs.hold(kindObject, []byte("x"), "")
	get := func() int32 {
		r := &request{object: &assembler{}, msg: &raypb.DataRequest{Type: &raypb.DataRequest_Get{Get: &raypb.GetRequest{}}}}
		if s.out.add(r) != nil {
			panic("not added")
		}
		for {
			_, taken, err := s.out.take()
			if err != nil {
				panic(err)
			}
			s.refs.taken(taken)
			if taken == r {
				return r.msg.ReqId
			}
		}
	}
	first := get()
	h.release()
	s.refs.flush(time.Now().Add(time.Hour))
	queued = s.refs.adopt([]*stub{{id: "x"}}, first)
	second := get() // behind the release
	sent = s.refs.adopt([]*stub{{id: "x"}}, first)
	again = s.refs.adopt([]*stub{{id: "x"}}, second)
	return queued, sent, again
}

// GoValue reads a pickled value as Get does, without a session.
func GoValue(data []byte) (any, error) {
	v, stubs, err := load(data)
	if err != nil {
		return nil, err
	}
	s := &Session{out: newOutbox(1, 1)}
	s.refs = newReferences(s)
	s.refs.adopt(stubs, 1)
	return s.toGo(v, len(data))
}

// DirectBounds are the bounds of a Direct that users cannot change.
type DirectBounds struct {
	Actors                                         int
	Dial, Lookup, Refused, Burial, Recheck, Silent time.Duration
}

// NewDirectWith makes a Direct with other bounds; zero ones stay as they are.
func NewDirectWith(gcs *GCS, opts DirectOptions, b DirectBounds) (*Direct, error) {
	bounds := defaultDirectBounds
	bounds.actors = cmp.Or(b.Actors, bounds.actors)
	bounds.dial = cmp.Or(b.Dial, bounds.dial)
	bounds.lookup = cmp.Or(b.Lookup, bounds.lookup)
	bounds.refused = cmp.Or(b.Refused, bounds.refused)
	bounds.burial = cmp.Or(b.Burial, bounds.burial)
	bounds.recheck = cmp.Or(b.Recheck, bounds.recheck)
	bounds.slowestRecheck = max(bounds.recheck, bounds.slowestRecheck)
	if b.Recheck > 0 {
		bounds.slowestRecheck = b.Recheck
	}
	bounds.silence = cmp.Or(b.Silent, bounds.silence)
	return newDirect(gcs, opts, bounds)
}

// DialTCP connects as direct calls do.
var DialTCP = dialTCP

// Hosts is the memory of hosts that swallow connections.
type Hosts struct{ t hostTable }

func NewHosts(recheck time.Duration) *Hosts       { return &Hosts{hostTable{recheck: recheck}} }
func (h *Hosts) Allow(address string) error       { return h.t.allow(address) }
func (h *Hosts) Report(address string, err error) { h.t.report(address, err) }

// ReadWebSocket reads the frames of a server to their end.
func ReadWebSocket(data []byte) ([]byte, error) {
	return io.ReadAll(&webSocket{reader: bufio.NewReader(bytes.NewReader(data)), writer: io.Discard})
}

// LogRecord is one record of a cluster's log.
type LogRecord struct {
	Level slog.Level
	Text  string
	Attrs map[string]string
}

// LogRecords returns what a message of the log channel becomes.
func LogRecords(level int32, name, text string) []LogRecord {
	var out []LogRecord
	logRecords(&raypb.LogData{Level: level, Name: name, Msg: text}, func(level slog.Level, text string, attrs ...slog.Attr) {
		r := LogRecord{Level: level, Text: text, Attrs: map[string]string{}}
		for _, a := range attrs {
			r.Attrs[a.Key] = a.Value.String()
		}
		out = append(out, r)
	})
	return out
}

// ReleaseAgain holds and releases one id so many times, and returns how many releases and ids are remembered.
func ReleaseAgain(times int) (requests, ids int) {
	s := &Session{out: newOutbox(10, 10), done: make(chan struct{})}
	s.refs = newReferences(s)
	for range times {
		s.refs.hold(kindActor, []byte("x"), "").release()
		s.refs.flush(time.Now().Add(time.Hour))
		_, release, err := s.out.take()
		if err != nil {
			panic(err)
		}
		s.refs.taken(release)
		resp := &raypb.DataResponse{ReqId: release.msg.ReqId, Type: &raypb.DataResponse_Release{Release: &raypb.ReleaseResponse{}}}
		s.out.finish(s.out.accept(resp))
		s.refs.releaseDone(release)
		for s.out.ackDue != 0 {
			if _, _, err := s.out.take(); err != nil {
				panic(err)
			}
		}
	}
	return len(s.refs.order), len(s.refs.released)
}

// RememberReleased bounds both.
const RememberReleased = rememberReleased

// EncodeDirect returns the arguments of a direct call as they travel.
func EncodeDirect(args ...any) ([]*corepb.TaskArg, error) {
	out, _, err := encodeArgs(args, DefaultDirectMessage)
	return out, err
}

// Bound makes s refuse requests beyond so many.
func (s *Session) Bound(requests int) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	s.out.maxRequests = requests
}

// AddAs queues a get of the result of an actor's method, or a ping.
func (o *Outbox) AddAs(actor string, ping bool) (*Request, error) {
	r := &request{target: "test", actor: actor, ping: ping, object: &assembler{}, msg: &raypb.DataRequest{Type: &raypb.DataRequest_Get{Get: &raypb.GetRequest{}}}}
	return &Request{r}, o.o.add(r)
}

// Actors returns for how many actors requests are counted.
func (o *Outbox) Actors() int { return len(o.o.actors) }

// PingReserve is how many pings are taken beyond the bound.
const PingReserve = pingReserve

// Pauses returns so many pauses of a pacer in a row.
func Pauses(first, limit time.Duration, n int) []time.Duration {
	p := pacer{first, limit}
	pauses := make([]time.Duration, n)
	for i := range pauses {
		pauses[i] = p.next()
	}
	return pauses
}

// Redialing is how the connections of sessions and of the GCS are dialled again.
func Redialing(dial func(ctx context.Context, address string) (net.Conn, error)) func(ctx context.Context, address string) (net.Conn, error) {
	return (&redialer{dial: dial}).connect
}

// The bounds of the pauses between attempts to connect again, and to resume.
const (
	FirstRedialPause, LastRedialPause = firstRedialPause, lastRedialPause
	FirstResumePause, LastResumePause = firstResumePause, lastResumePause
)

// Archive builds the zip of a package.
func Archive(p *Package) ([]byte, error) { return p.archive() }

// HoldBooks keeps a session from looking at its refs until the function that it returns is called.
func HoldBooks(s *Session) (letGo func()) {
	s.refs.mu.Lock()
	return s.refs.mu.Unlock
}

// SessionBounds are bounds of a session that users cannot change.
type SessionBounds struct {
	Pinned, Init time.Duration
}

// With returns a configuration with other bounds; zero ones stay as they are.
func (b SessionBounds) With(cfg Config) Config {
	cfg.bounds = sessionBounds{pinned: b.Pinned, init: b.Init}
	return cfg
}

// MaxPins bounds the packages that a session keeps in the cluster.
const MaxPins = maxPins
