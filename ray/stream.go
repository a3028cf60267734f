package ray

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strconv"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// DefaultStreamItems is the default of DirectOptions.StreamItems.
const DefaultStreamItems = 64

// firstItem is the index of a stream's first item among the objects of its task: the task's own result is number 1.
const firstItem = 2

// ItemError is an item of a stream that did not arrive, though the stream goes on.
type ItemError struct {
	Index int64 // from 0
	Err   error
}

func (e *ItemError) Error() string { return fmt.Sprintf("item %d: %v", e.Index, e.Err) }

func (e *ItemError) Unwrap() error { return e.Err }

// Stream calls a method that makes its results one after the other, a generator in Python or one that returns an
// iter.Seq in Go, and returns them as they come, in order. Nothing is sent until the sequence is ranged over, and each
// time that it is makes a call of its own.
//
//	for item, err := range direct.Stream(ctx, "default", "reader", "lines", path) {
//		if err != nil {
//			return err
//		}
//		... // leaving the loop ends the stream
//	}
//
// Streams are tested on Ray 2.60 and refused on other versions (ErrUnsupportedVersion, SentNo).
//
// An error is the last thing that comes, unless it is an *ItemError: one item could not be delivered, and the next one
// follows. Otherwise errors are those of Call; what was delivered before stays delivered. The exception that a generator
// raises after some items is a *TaskError after them; a process that dies gives ErrActorUnavailable with SentMaybe.
//
// The method runs ahead of the loop by DirectOptions.StreamItems items, then it waits. When the loop is left, ctx ends or
// the Direct is closed, the method is told to stop: one in Go by its context, one in Python before its next item. Its
// remaining items are dropped; it is not waited for, and counts as under way until it has ended.
//
// The worker dials this process for each item, at the address from which this process reached it: a firewall or NAT in
// that direction leaves items undelivered, which is an error at the end of the stream. Where Credentials hold a token,
// workers have to send it; with TLS, the certificate of this process has to name its address.
//
// An item above the actor's inline limit (100 KiB unless it was raised) is an ItemError with ErrUnsupportedValue, and is
// freed.
func (d *Direct) Stream(ctx context.Context, namespace, name, method string, args ...any) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		key := actorKey{namespace, name}
		target := callee{key, method}
		if tracer := d.opts.Tracer; tracer != nil {
			var last error
			untraced := yield
			yield = func(v any, err error) bool { last = err; return untraced(v, err) }
			ctx = tracer.TraceCallStart(ctx, TracedCall{"direct_stream", target.String()})
			defer func() { tracer.TraceCallEnd(ctx, last) }()
		}
		encoded, size, err := encodeArgs(args, d.opts.MaxMessage)
		if version := d.gcs.RayVersion(); err == nil && !d.rules.streams {
			err = fmt.Errorf("%w: streams are tested on 2.60.0, the cluster runs %s", ErrUnsupportedVersion, version)
		}
		var refusals refusals
		for err == nil {
			var s *stream
			opening, cancel := bound(ctx, d.opts.CallTimeout, int(size))
			s, err = d.openStream(opening, key, method, encoded, size)
			cancel()
			if err != nil || !s.deliver(ctx, yield) {
				break
			}
			// The worker did not take the call, as in Direct.call.
			if err = refusals.add(s.t, s.x.err, d.bounds.refused); err == nil {
				err = d.pause(ctx, firstPoll)
			}
		}
		if err != nil {
			yield(nil, &CallError{Target: target.String(), Sent: SentNo, Err: err})
		}
	}
}

// openStream sends the call and returns at once. Its errors are for calls that were not sent.
func (d *Direct) openStream(ctx context.Context, key actorKey, method string, args []*corepb.TaskArg, size int64) (*stream, error) {
	r, err := d.begin(key, size)
	if err != nil {
		return nil, err
	}
	t, err := d.acquire(allowance{ctx: ctx}, r, false)
	if err != nil {
		d.end(r, nil, size)
		return nil, err
	}
	trace := traceHeaders(ctx, d.opts.Tracer) // before the call has a number: it runs the tracer
	var l *lane
	if err = t.class.accepts(method, args, size); err == nil {
		l, err = d.owner.lane(ctx, t)
	}
	if err != nil {
		d.end(r, t, size)
		return nil, err
	}
	seq := l.next
	l.next++
	x := &exchange{}
	spec := t.number(x, l, seq, method, args)
	spec.ReturnsDynamic, spec.StreamingGenerator = true, true
	spec.GeneratorBackpressureNumObjects = int64(d.opts.StreamItems) // fatal: 0
	spec.NumObjectsPerYield = 1
	setParent(ctx, spec)
	s := &stream{
		d: d, t: t, r: r, target: callee{key, method}, size: size, limit: int64(d.opts.StreamItems), taskID: bytes.Clone(spec.GetTaskId()), caller: l.caller.GetWorkerId(),
		generatorID: binary.LittleEndian.AppendUint32(bytes.Clone(spec.GetTaskId()), 1),
		x:           x, done: make(chan struct{}),
		arrived: make(chan struct{}, 1), items: map[int64]item{},
	}
	d.owner.add(s)
	x.reported = d.reportSent(t, method, spec)
	<-t.streams.turn // the call has its number
	d.send(t, x, trace)
	go func() { // while the call is counted
		<-x.call.Done()
		d.conclude(r, t, x)
		if x.err != nil {
			d.owner.retire(t, l)
		}
		d.reportEnd(x.reported, x)
		d.owner.leave(l, 1)
		s.ended()
		close(s.done)
	}()
	return s, nil
}

// objectIndex reads the index of an object of the stream's task.
func (s *stream) objectIndex(id []byte) (int64, bool) {
	if len(id) != idLen || string(id[:taskIDLen]) != string(s.taskID) {
		return 0, false
	}
	return int64(binary.LittleEndian.Uint32(id[taskIDLen:])) - firstItem, true
}

// value decodes an item. last tells that it is the error that ended the method.
func (s *stream) value(index int64, i item) (v any, last bool, err error) {
	v, err = decodeReply(s.target, &corepb.PushTaskReply{ReturnObjects: []*corepb.ReturnObject{i.object}}, i.kept)
	if _, failure := strconv.Atoi(string(i.object.GetMetadata())); failure == nil && !i.object.GetInPlasma() {
		return nil, true, err
	}
	if err != nil {
		return nil, false, &ItemError{index, err}
	}
	return v, false, nil
}

// outcome is what comes after the last item that arrived: nil at the end of a stream that is whole.
func (s *stream) outcome() error {
	x := s.x
	if x.err != nil {
		sent := x.sent
		if sent == SentNo && s.delivered > 0 {
			sent = SentYes
		}
		return &CallError{Target: s.target.String(), Sent: sent, Err: x.err}
	}
	made := int64(len(x.reply.GetStreamingGeneratorReturnIds()))
	if _, err := decodeReply(s.target, &x.reply.PushTaskReply, x.kept); err != nil && (made == s.delivered || !x.reply.GetIsApplicationError()) {
		return err
	}
	if made != s.delivered {
		return &CallError{Target: s.target.String(), Sent: SentYes, Err: fmt.Errorf("%w: the method made %d items, and %d arrived: its worker could not reach this process at %s",
			ErrStreamBroken, made, s.delivered, s.t.localIP)}
	}
	return nil
}

// ErrStreamBroken means: items of a stream were lost on their way here, or its worker did not follow the protocol. The
// items before the error are right.
var ErrStreamBroken = errors.New("ray: stream broken")

// Stream is Direct.Stream. Ray's client server has no streams: without a direct path, or with DirectOff, the one thing that
// comes is ErrNoStreaming, and nothing is sent.
func (c *Client) Stream(ctx context.Context, namespace, name, method string, args ...any) iter.Seq2[any, error] {
	direct, reason := c.Direct()
	if c.mode == DirectOff {
		direct, reason = nil, errors.New("this client makes no direct calls (DirectOff)")
	}
	if direct != nil {
		return func(yield func(any, error) bool) {
			c.viaDirect.Add(1)
			direct.Stream(ctx, namespace, name, method, args...)(yield)
		}
	}
	return func(yield func(any, error) bool) {
		err := ErrNoStreaming
		if reason != nil {
			err = fmt.Errorf("%w: %w", ErrNoStreaming, reason)
		}
		yield(nil, &CallError{Target: actorKey{namespace, name}.method(method), Sent: SentNo, Err: err})
	}
}

// ErrNoStreaming means: a stream was asked for where only a session leads to the actor. Run where the workers and the GCS
// can be reached, or have the method return a list, or submit it with DynamicReturns. A generator that was submitted without
// that may run nevertheless: SentMaybe.
var ErrNoStreaming = errors.New("ray: a session does not stream; a direct path is needed")
