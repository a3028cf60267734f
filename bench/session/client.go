package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/seedcore/seedcore/bench/peer"
	"github.com/seedcore/seedcore/internal/wire/raypb"
	"github.com/seedcore/seedcore/ray"
)

// hello is the first line of a side.
type hello struct {
	RSS     int64  `json:"rss"` // once connected, before anything else
	Version string `json:"version"`
}

// command is what a side is told, the Python one too: to let callers do an operation at once, each for its own actor or
// object, again and again.
type command struct {
	Op      string  `json:"op"`
	Way     string  `json:"way"`
	Callers int     `json:"callers"`
	Keep    bool    `json:"keep"` // refs are kept until after the measurement, so that no release is part of it
	Seconds float64 `json:"seconds"`
	Profile string  `json:"profile,omitempty"`
}

// result is what a side found. The percentiles are of an operation's latency, in seconds.
type result struct {
	N       int     `json:"n"`
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu"`              // seconds of all threads
	Allocs  uint64  `json:"allocs,omitempty"` // Go only
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`

	served serverTime
}

// The operations, and the ways in which the Go side does them.
const (
	opCall, opPipelined, opGet, opPut, opPut100, opGet100 = "call", "pipelined", "get", "put", "put100", "get100"
	// opStart makes the actors. It is no row.
	opStart = "start"

	waySame, waySession, wayShipped = "same requests", "session", "as shipped"
	// wayDropped is that of a client that costs next to nothing: it makes the request and throws the answer away.
	wayDropped = "answer dropped"
)

const (
	maxCallers = 16
	batch      = 200 // pipelined
	goActors   = "bench-go"
)

// goSide is the Go side of the comparison.
type goSide struct {
	session *ray.Session
	client  *ray.Client
	rpc     raypb.RayletDriverClient
	actors  []*ray.ActorHandle
	small   []*ray.ObjectRef // one a caller: gets of one ref share a transfer
	big     []byte
	bigRef  *ray.ObjectRef
	idle    int // refs that the session holds before the first measurement
}

var payload = bytes.Repeat([]byte("x"), 64)

const echoSource = "class Echo:\n    def echo(self, value):\n        return value\n"

// actorNames are made before calls are counted.
var actorNames = func() (names [maxCallers]string) {
	for i := range names {
		names[i] = fmt.Sprintf("echo-%d", i)
	}
	return names
}()

func serveCommands(ctx context.Context, address string, in io.Reader, out io.Writer) (err error) {
	session, err := ray.Open(ctx, ray.Config{Address: address, Namespace: goActors})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close(context.WithoutCancel(ctx))) }()
	gcs, err := ray.DialGCS(ctx, session.Info().GCSAddress, ray.GCSOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gcs.Close()) }()
	direct, err := ray.NewDirect(gcs, ray.DirectOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, direct.Close(context.WithoutCancel(ctx))) }()
	// A second connection for the requests that Python makes and package ray does not: gets by a call of their own.
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(8<<20), grpc.WithInitialConnWindowSize(16<<20), // as package ray has them
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	connected := hello{RSS: rss(), Version: session.Info().RayVersion}
	g := &goSide{session: session, client: ray.NewClient(session, gcs, direct, nil), rpc: raypb.NewRayletDriverClient(conn), big: make([]byte, 100<<20)}
	for range maxCallers {
		small, err := session.Put(ctx, make([]byte, 100))
		if err != nil {
			return err
		}
		g.small = append(g.small, small)
	}
	g.idle = session.Stats().Refs
	return peer.Serve(in, out, connected, func(c command) (result, error) { return g.measure(ctx, c) })
}

// start makes the actors.
func (g *goSide) start(ctx context.Context) error {
	class, err := g.session.Class(ctx, ray.Function{Name: "Echo", Source: echoSource})
	if err != nil {
		return err
	}
	for i := range maxCallers {
		actor, err := g.session.CreateActor(ctx, class, ray.ActorOptions{Name: actorNames[i]})
		if err != nil {
			return err
		}
		if _, err := actor.Call(ctx, "echo", payload); err != nil {
			return err
		}
		// The first direct call of an actor looks it up and connects.
		if _, err := g.client.Call(ctx, goActors, actorNames[i], "echo", payload); err != nil {
			return err
		}
		g.actors = append(g.actors, actor)
	}
	g.idle = g.session.Stats().Refs
	if g.bigRef != nil {
		g.idle--
	}
	return nil
}

func rss() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			return kib * 1024
		}
	}
	return 0
}

func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

func (g *goSide) measure(ctx context.Context, c command) (r result, err error) {
	if c.Op == opStart {
		start := time.Now()
		err := g.start(ctx)
		return result{N: maxCallers, Seconds: time.Since(start).Seconds()}, err
	}
	if c.Profile != "" {
		stop, err := profile(c.Profile)
		if err != nil {
			return r, err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	var before, after runtime.MemStats
	parts := make([]part, c.Callers)
	for i := range parts {
		parts[i].latencies = make([]time.Duration, 0, 1<<12)
	}
	paths := g.client.Paths()
	runtime.ReadMemStats(&before)
	start, cpu := time.Now(), cpuSeconds()
	end := start.Add(time.Duration(c.Seconds * float64(time.Second)))
	var all sync.WaitGroup
	for i := range parts {
		all.Go(func() {
			p := &parts[i]
			for last := start; p.err == nil && (p.n == 0 || last.Before(end)); {
				var n int
				n, p.err = g.once(ctx, c, i, p)
				now := time.Now()
				p.latencies = append(p.latencies, now.Sub(last))
				p.n, last = p.n+n, now
			}
		})
	}
	all.Wait()
	if c.Op == opPut {
		if err := g.session.Ping(ctx); err != nil { // behind the puts that were not waited for
			return r, err
		}
	}
	r.Seconds, r.CPU = time.Since(start).Seconds(), cpuSeconds()-cpu
	runtime.ReadMemStats(&after)
	r.Allocs = after.Mallocs - before.Mallocs
	var latencies []time.Duration
	for _, p := range parts {
		err = errors.Join(err, p.err)
		r.N += p.n
		latencies = append(latencies, p.latencies...)
		for _, ref := range p.kept {
			ref.Release()
		}
	}
	slices.SortFunc(latencies, cmp.Compare)
	at := func(q float64) float64 { return latencies[int(q*float64(len(latencies)-1))].Seconds() }
	r.P50, r.P99 = at(0.5), at(0.99)
	if took := g.client.Paths(); c.Way == wayShipped && (c.Op == opCall || c.Op == opPipelined) &&
		(took.Session != paths.Session || took.Direct-paths.Direct != int64(r.N)) {
		err = errors.Join(err, fmt.Errorf("of %d calls %d were direct and %d through the session: %v",
			r.N, took.Direct-paths.Direct, took.Session-paths.Session, took.Detours))
	}
	return r, errors.Join(err, g.settle(ctx))
}

// settle waits until the server has done what a measurement left for later, which is not the next one's: releases.
func (g *goSide) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for g.session.Stats().Refs > g.idle+1 { // one more: the large object
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%d refs are held, %d were at first: %w", g.session.Stats().Refs, g.idle, ctx.Err())
		}
	}
	return g.session.Ping(ctx)
}

// part is what one caller did.
type part struct {
	n         int
	latencies []time.Duration
	kept      []*ray.ObjectRef
	err       error
}

// done releases a ref, or keeps it for later.
func (p *part) done(c command, ref *ray.ObjectRef) {
	if c.Keep {
		p.kept = append(p.kept, ref)
	} else {
		ref.Release()
	}
}

// once does an operation as caller number i, and returns how many calls that were.
func (g *goSide) once(ctx context.Context, c command, i int, p *part) (int, error) {
	switch c.Op {
	case opCall:
		return 1, g.call(ctx, c, i, p)
	case opPipelined:
		return batch, g.pipelined(ctx, c, p)
	case opGet:
		if c.Way == waySame {
			_, err := g.getObject(ctx, g.small[i], false)
			return 1, err
		}
		_, err := g.session.Get(ctx, g.small[i])
		return 1, err
	case opPut:
		ref, err := g.session.Put(ctx, payload)
		if err != nil {
			return 1, err
		}
		if c.Way == waySame && ref.ID() == "" { // it waits for the answer, as Python does
			err = errors.New("the put was not answered")
		}
		p.done(c, ref)
		return 1, err
	case opPut100:
		if g.bigRef != nil {
			g.bigRef.Release()
		}
		var err error
		g.bigRef, err = g.session.Put(ctx, g.big)
		return 1, err
	case opGet100:
		return 1, g.getBig(ctx, c)
	}
	return 0, fmt.Errorf("unknown operation %q", c.Op)
}

func (g *goSide) call(ctx context.Context, c command, i int, p *part) error {
	switch c.Way {
	case waySession:
		_, err := g.actors[i].Call(ctx, "echo", payload)
		return err
	case wayShipped:
		_, err := g.client.Call(ctx, goActors, actorNames[i], "echo", payload)
		return err
	}
	ref, err := g.actors[i].Submit(ctx, "echo", payload)
	if err != nil {
		return err
	}
	_, err = g.getObject(ctx, ref, false)
	p.done(c, ref)
	return err
}

func (g *goSide) pipelined(ctx context.Context, c command, p *part) error {
	refs := make([]*ray.ObjectRef, batch)
	errs := make([]error, batch)
	var all sync.WaitGroup
	for i := range refs {
		all.Go(func() {
			if c.Way == wayShipped {
				_, errs[i] = g.client.Call(ctx, goActors, actorNames[0], "echo", payload)
				return
			}
			refs[i], errs[i] = g.actors[0].Submit(ctx, "echo", payload)
		})
	}
	all.Wait()
	err := errors.Join(errs...)
	if c.Way == wayShipped {
		return err
	}
	if err == nil {
		_, err = g.session.GetAll(ctx, refs)
	}
	for _, ref := range refs {
		if ref != nil {
			p.done(c, ref)
		}
	}
	return err
}

func (g *goSide) getBig(ctx context.Context, c command) error {
	if c.Way != wayShipped {
		n, err := g.getObject(ctx, g.bigRef, c.Way == wayDropped)
		if err == nil && n < len(g.big) {
			err = fmt.Errorf("%d bytes came", n)
		}
		return err
	}
	v, err := g.session.Get(ctx, g.bigRef)
	if b, ok := v.([]byte); err == nil && (!ok || len(b) != len(g.big)) {
		err = fmt.Errorf("a %T came", v)
	}
	return err
}

// getObject gets a value by the request that Python's client uses, and returns the size of its pickle, which it keeps
// whole, as who decodes it has to, unless it drops what comes.
func (g *goSide) getObject(ctx context.Context, ref *ray.ObjectRef, drop bool) (size int, err error) {
	id, err := hex.DecodeString(ref.ID())
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "client_id", g.session.ID()))
	defer cancel()
	request := &raypb.GetRequest{Ids: [][]byte{id}, Timeout: 2}
	if drop {
		stream, err := g.rpc.GetObject(ctx, request, grpc.ForceCodecV2(dropCodec{}))
		if err != nil {
			return 0, err
		}
		for {
			var dropped raypb.GetResponse // its size alone
			switch err := stream.RecvMsg(&dropped); {
			case errors.Is(err, io.EOF):
				return size, nil
			case err != nil:
				return 0, err
			}
			size += int(dropped.TotalSize)
		}
	}
	stream, err := g.rpc.GetObject(ctx, request)
	if err != nil {
		return 0, err
	}
	var chunks [][]byte
	for {
		answer, err := stream.Recv()
		if err != nil {
			return 0, err
		}
		if !answer.GetValid() {
			return 0, errors.New("the get was refused")
		}
		chunks = append(chunks, answer.GetData())
		if answer.GetChunkId()+1 == answer.GetTotalChunks() {
			return len(bytes.Join(chunks, nil)), nil
		}
	}
}

// dropCodec tells of an answer only how large it was.
type dropCodec struct{}

func (dropCodec) Name() string { return "" }

func (dropCodec) Marshal(v any) (mem.BufferSlice, error) {
	message, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("a %T is no message", v)
	}
	data, err := proto.Marshal(message)
	return mem.BufferSlice{mem.SliceBuffer(data)}, err
}

func (dropCodec) Unmarshal(data mem.BufferSlice, v any) error {
	answer, ok := v.(*raypb.GetResponse)
	if !ok {
		return fmt.Errorf("a %T is no answer", v)
	}
	answer.TotalSize = uint64(data.Len())
	return nil
}

// profile begins to write path.cpu, and at the end path.allocs.
func profile(path string) (stop func() error, err error) {
	f, err := os.Create(path + ".cpu")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		allocs, err := os.Create(path + ".allocs")
		if err != nil {
			return errors.Join(err, f.Close())
		}
		return errors.Join(f.Close(), pprof.Lookup("allocs").WriteTo(allocs, 0), allocs.Close())
	}, nil
}
