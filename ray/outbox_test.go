package ray_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/wire/raypb"
	"github.com/seedcore/seedcore/ray"
)

// serverModel is what Ray's server remembers: it answers cached requests once, in order, repeats the answer until it is
// acknowledged, and refuses (which ends the session) ids up to the last acknowledgement.
type serverModel struct {
	t     *testing.T
	last  int32
	cache []int32
	ran   map[int32]int
}

func (m *serverModel) receive(r *ray.Request) {
	if r.IsGet() {
		return
	}
	if r.ID() <= m.last {
		m.t.Fatalf("request %d was sent after %d had been acknowledged", r.ID(), m.last)
	}
	if slices.Contains(m.cache, r.ID()) {
		return
	}
	if n := len(m.cache); n > 0 && m.cache[n-1] > r.ID() {
		m.t.Fatalf("request %d was sent after %d", r.ID(), m.cache[n-1])
	}
	m.ran[r.ID()]++
	m.cache = append(m.cache, r.ID())
}

func (m *serverModel) acknowledge(id int32) {
	if id <= m.last {
		m.t.Fatalf("%d was acknowledged after %d", id, m.last)
	}
	m.last = id
	m.cache = slices.DeleteFunc(m.cache, func(c int32) bool { return c <= id })
}

func putAnswer(id int32) *raypb.DataResponse {
	return &raypb.DataResponse{ReqId: id, Type: &raypb.DataResponse_Put{Put: &raypb.PutResponse{Valid: true, Id: []byte("x")}}}
}

func getAnswer(id int32) *raypb.DataResponse {
	return &raypb.DataResponse{ReqId: id, Type: &raypb.DataResponse_Get{Get: &raypb.GetResponse{Valid: true, Data: []byte("x"), TotalChunks: 1, TotalSize: 1}}}
}

// FuzzOutbox plays a client, a connection that breaks, and a server that answers in any order, twice, wrongly or not at
// all, and checks that each request is executed once and that acknowledgements never run ahead.
func FuzzOutbox(f *testing.F) {
	f.Add([]byte{0, 0, 1, 2, 2, 2, 3, 4, 3, 5, 2, 3})
	f.Add([]byte{0, 2, 5, 6, 0, 2, 3, 3, 5, 4, 7, 8})
	long := make([]byte, 0, 600)
	for range 100 {
		long = append(long, 0, 1, 2, 2, 3, 4)
	}
	f.Add(long)
	f.Fuzz(func(t *testing.T, ops []byte) {
		o := ray.NewOutbox(50, 1000)
		server := &serverModel{t: t, ran: map[int32]int{}}
		var onWire []*ray.Request // sent on this stream, not answered on it
		added := map[*ray.Request]bool{}
		send := func(r *ray.Request) {
			server.receive(r)
			onWire = append(onWire, r)
		}
		answer := func(i int) {
			r := onWire[i]
			onWire = slices.Delete(onWire, i, i+1)
			resp := putAnswer(r.ID())
			if r.IsGet() {
				resp = getAnswer(r.ID())
			}
			done := o.Accept(resp)
			if done == nil || !done.Is(r) || !r.Done() || r.Err() != nil {
				t.Fatalf("the answer to request %d did not end it", r.ID())
			}
			if o.Accept(resp) != nil {
				t.Fatalf("request %d was answered twice", r.ID())
			}
		}
		for i, op := range ops {
			switch op % 9 {
			case 0, 1:
				r, err := o.Add(op%9 == 1, int(op))
				if err == nil {
					added[r] = false
				} else if !errors.Is(err, ray.ErrOverloaded) {
					t.Fatal(err)
				}
			case 2:
				ack, r, err := o.Take()
				switch {
				case err != nil:
					t.Fatal(err)
				case ack != 0:
					server.acknowledge(ack)
				case r != nil:
					send(r)
				}
			case 3: // cached requests are answered in order
				if i := slices.IndexFunc(onWire, func(r *ray.Request) bool { return !r.IsGet() }); i >= 0 {
					answer(i)
				}
			case 4: // gets in any order
				gets := 0
				for j, r := range onWire {
					if r.IsGet() {
						if gets++; gets > i%3 {
							answer(j)
							break
						}
					}
				}
			case 5: // the connection breaks
				onWire = nil
				for _, r := range o.Replay() {
					send(r)
				}
			case 6: // a caller goes away
				for r := range added {
					if !added[r] && !r.Done() {
						added[r] = true
						if o.Withdraw(r) && r.ID() != 0 {
							t.Fatalf("request %d had been sent", r.ID())
						}
						break
					}
				}
			case 7: // answers to nothing
				o.Accept(putAnswer(int32(op) * 1000))
				o.Accept(putAnswer(0))
				o.Accept(nil)
			case 8: // an answer of the wrong kind ends the request with an error
				if len(onWire) > 0 {
					r := onWire[0]
					onWire = onWire[1:]
					wrong := &raypb.DataResponse{ReqId: r.ID(), Type: &raypb.DataResponse_Terminate{Terminate: &raypb.TerminateResponse{Ok: true}}}
					if done := o.Accept(wrong); done == nil || done.Err() == nil {
						t.Fatal("an answer of the wrong kind was taken for right")
					}
				}
			}
		}
		// Everything is answered in the end, and nothing stays behind.
		for {
			ack, r, err := o.Take()
			if err != nil {
				t.Fatal(err)
			}
			if ack != 0 {
				server.acknowledge(ack)
			} else if r != nil {
				send(r)
			} else if len(onWire) > 0 {
				answer(0)
			} else {
				break
			}
		}
		if queued, sent, inUse := o.Counts(); queued+sent+inUse != 0 || o.Bytes() != 0 {
			t.Fatalf("left behind: %d queued, %d sent, %d in use, %d bytes", queued, sent, inUse, o.Bytes())
		}
		for id, n := range server.ran {
			if n != 1 {
				t.Fatalf("request %d ran %d times", id, n)
			}
		}
	})
}

func TestOutboxAcknowledgesOnlyWhatIsAnswered(t *testing.T) {
	o := ray.NewOutbox(1000, 1000)
	var ids []int32
	for i := range 80 {
		// The first is a put that stays unanswered; the others are gets, which the server does not remember.
		if _, err := o.Add(i > 0, 1); err != nil {
			t.Fatal(err)
		}
		_, r, err := o.Take()
		if err != nil || r == nil {
			t.Fatal(err)
		}
		ids = append(ids, r.ID())
	}
	for _, id := range ids[1:] {
		o.Accept(getAnswer(id))
	}
	if ack, r, err := o.Take(); ack != 0 || r != nil || err != nil {
		t.Fatalf("acknowledged %d while request %d is unanswered", ack, ids[0])
	}
	o.Accept(putAnswer(ids[0]))
	if ack, _, _ := o.Take(); ack != ids[79] {
		t.Fatalf("acknowledged %d instead of %d", ack, ids[79])
	}
}

// wantOverloaded expects that a bound was met, and which.
func wantOverloaded(t *testing.T, err error, want ray.OverloadedError) {
	t.Helper()
	if found, ok := errors.AsType[*ray.OverloadedError](err); !ok || *found != want || !errors.Is(err, ray.ErrOverloaded) || ray.SentOf(err) != ray.SentNo {
		t.Errorf("%v (sent %v); want %+v", err, ray.SentOf(err), want)
	}
}

func TestOutboxBounds(t *testing.T) {
	o := ray.NewOutbox(3, 100)
	for range 2 {
		if _, err := o.Add(false, 40); err != nil {
			t.Fatal(err)
		}
	}
	_, err := o.Add(false, 40)
	wantOverloaded(t, err, ray.OverloadedError{What: "bytes", Limit: 100, InUse: 80, More: 40})
	if _, err := o.Add(false, 20); err != nil {
		t.Fatal(err)
	}
	_, err = o.Add(false, 0)
	wantOverloaded(t, err, ray.OverloadedError{What: "calls", Limit: 3, InUse: 3, More: 1})
	alone := ray.NewOutbox(3, 100)
	if _, err := alone.Add(false, 400); err != nil {
		t.Fatalf("a single request above the bound: %v", err)
	}
}

func TestOutboxUsesNoIDTwice(t *testing.T) {
	o := ray.NewOutbox(10, 100)
	o.SetLastID(math.MaxInt32 - 1)
	for range 2 {
		if _, err := o.Add(false, 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, r, err := o.Take(); err != nil || r.ID() != math.MaxInt32 {
		t.Fatalf("the last id: %v", err)
	}
	if _, r, err := o.Take(); err == nil {
		t.Fatalf("request %d came behind the last id", r.ID())
	}
}

func TestOutboxSaysWhatWasSent(t *testing.T) {
	o := ray.NewOutbox(10, 100)
	sent, err := o.Add(false, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := o.Take(); err != nil {
		t.Fatal(err)
	}
	queued, err := o.Add(false, 1)
	if err != nil {
		t.Fatal(err)
	}
	o.Refuse(ray.ErrClosed)
	drained := o.Drained()
	o.Fail(ray.ErrSessionLost)
	if !errors.Is(sent.Err(), ray.ErrSessionLost) || ray.SentOf(sent.Err()) != ray.SentMaybe {
		t.Errorf("a request that was sent: %v", sent.Err())
	}
	if !errors.Is(queued.Err(), ray.ErrSessionLost) || ray.SentOf(queued.Err()) != ray.SentNo {
		t.Errorf("a request that waited: %v", queued.Err())
	}
	select {
	case <-drained:
	default:
		t.Error("still in use after all failed")
	}
	if _, err := o.Add(false, 1); !errors.Is(err, ray.ErrSessionLost) {
		t.Errorf("a request after the end: %v", err)
	}
}

func TestReleasesOfOneIDAreNotRememberedForEver(t *testing.T) {
	if requests, ids := ray.ReleaseAgain(ray.RememberReleased + 100); requests > ray.RememberReleased || ids != 1 {
		t.Errorf("%d requests and %d ids are remembered", requests, ids)
	}
}

func TestOneActorDoesNotFillTheOutbox(t *testing.T) {
	o := ray.NewOutbox(8, 100)
	add := func(actor string, ping bool, want error) *ray.Request {
		t.Helper()
		r, err := o.AddAs(actor, ping)
		if !errors.Is(err, want) {
			t.Fatalf("%v; want %v", err, want)
		}
		return r
	}
	hung := []*ray.Request{add("hung", false, nil), add("hung", false, nil)}
	add("hung", false, ray.ErrOverloaded)
	if !o.Withdraw(hung[0]) { // it was not sent
		t.Error("a request that nobody waits for was sent")
	}
	hung[0] = add("hung", false, nil)
	for range hung {
		if _, _, err := o.Take(); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range hung {
		o.Withdraw(r) // goes on behind the caller
	}
	add("hung", false, ray.ErrOverloaded)
	for range 2 {
		add("another", false, nil)
		add("a third", false, nil)
		add("", false, nil)
	}
	add("", false, ray.ErrOverloaded)
	for range ray.PingReserve {
		add("", true, nil)
	}
	add("", true, ray.ErrOverloaded)
	if again := o.Replay(); len(again) != 0 { // a new stream does not ask for what nobody waits for
		t.Errorf("%d are sent again", len(again))
	}
	if n := o.Actors(); n != 2 {
		t.Errorf("%d actors are counted", n)
	}
	o.Fail(ray.ErrClosed)
	if n := o.Actors(); n != 0 {
		t.Errorf("%d actors are counted", n)
	}
}

// Calls of an actor that hangs are given up one after the other. That is its trouble alone.
func TestAHungActorLeavesTheSessionUsable(t *testing.T) {
	t.Parallel()
	s := open(t, ray.Config{})
	ctx := deadline(t)
	hung, well := counter(t, s, ray.ActorOptions{}), counter(t, s, ray.ActorOptions{})
	for _, actor := range []*ray.ActorHandle{hung, well} {
		if err := second(actor.Call(ctx, "value")); err != nil {
			t.Fatal(err)
		}
	}
	s.Bound(8)
	for range 2 {
		ref, err := hung.Submit(ctx, "sleep", 3600)
		if err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		if err := second(s.Get(short, ref)); !errors.Is(err, ray.ErrGetTimeout) {
			t.Fatal(err)
		}
		cancel()
		ref.Release()
	}
	wantOverloaded(t, second(hung.Call(ctx, "value")), ray.OverloadedError{What: "calls of the actor", Limit: 2, InUse: 2, More: 1})
	if v, err := well.Call(ctx, "incr"); v != int64(1) {
		t.Errorf("%v, %v", v, err)
	}
	s.Bound(1)
	if err := second(well.Call(ctx, "incr")); !errors.Is(err, ray.ErrOverloaded) {
		t.Errorf("%v", err)
	}
	if err := s.Ping(ctx); err != nil {
		t.Error(err)
	}
}

func TestAnsweredRequestsAreLetGo(t *testing.T) {
	const n = 5
	o := ray.NewOutbox(10, 1<<30)
	gone := func() []func() bool {
		var gone []func() bool
		for range n {
			r, err := o.Add(false, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			gone = append(gone, r.Gone())
			if _, taken, err := o.Take(); err != nil || !taken.Is(r) {
				t.Fatalf("%v was not taken: %v", taken, err)
			}
		}
		return gone
	}()
	for id := range int32(n) {
		if o.Accept(putAnswer(id+1)) == nil {
			t.Fatalf("no request %d", id+1)
		}
	}
	runtime.GC()
	for i, gone := range gone {
		if !gone() {
			t.Errorf("request %d and its data are still held", i+1)
		}
	}
	runtime.KeepAlive(o)
}
