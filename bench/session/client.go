package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/seedcore/seedcore/bench/peer"
	"github.com/seedcore/seedcore/internal/wire/raypb"
	"github.com/seedcore/seedcore/ray"
)

// hello is the first line of a side.
type hello struct {
	RSS     int64  `json:"rss"`
	Version string `json:"version"`
}

// command is what a side is told, and result what it found.
type command struct {
	Op      string  `json:"op"`
	Seconds float64 `json:"seconds"`
}

type result struct {
	N       int     `json:"n"`
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu"`              // seconds of all threads
	Allocs  uint64  `json:"allocs,omitempty"` // Go only

	server float64 // CPU seconds of Ray's client server meanwhile
}

// goSide is the Go side of the comparison.
type goSide struct {
	session *ray.Session
	rpc     raypb.RayletDriverClient
	actors  []*ray.ActorHandle
	small   *ray.ObjectRef
	big     []byte
	bigRef  *ray.ObjectRef
}

var payload = bytes.Repeat([]byte("x"), 64)

const echoSource = "class Echo:\n    def echo(self, value):\n        return value\n"

func serveCommands(ctx context.Context, address string, in io.Reader, out io.Writer) (err error) {
	session, err := ray.Open(ctx, ray.Config{Address: address, Namespace: "bench-go"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close(context.WithoutCancel(ctx))) }()
	// A second connection for the requests that Python makes and package ray does not: gets by a call of their own.
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	side := &goSide{session: session, rpc: raypb.NewRayletDriverClient(conn), big: make([]byte, 100<<20)}
	class, err := session.Class(ctx, ray.Function{Name: "Echo", Source: echoSource})
	if err != nil {
		return err
	}
	for range 16 {
		actor, err := session.CreateActor(ctx, class, ray.ActorOptions{})
		if err != nil {
			return err
		}
		if _, err := actor.Call(ctx, "echo", payload); err != nil {
			return err
		}
		side.actors = append(side.actors, actor)
	}
	if side.small, err = session.Put(ctx, make([]byte, 100)); err != nil {
		return err
	}
	return peer.Serve(in, out, hello{RSS: rss(), Version: session.Info().RayVersion},
		func(c command) (result, error) { return side.measure(ctx, c) })
}

func rss() int64 {
	runtime.GC()
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

func (g *goSide) measure(ctx context.Context, c command) (result, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start, cpu := time.Now(), cpuSeconds()
	end := start.Add(time.Duration(c.Seconds * float64(time.Second)))
	var r result
	if callers, ok := strings.CutPrefix(c.Op, "callers"); ok {
		n, err := strconv.Atoi(callers)
		if err != nil {
			return r, err
		}
		if r.N, err = g.callers(ctx, n, end); err != nil {
			return r, err
		}
	} else {
		for r.N == 0 || time.Now().Before(end) {
			n, err := g.once(ctx, c.Op)
			if err != nil {
				return r, err
			}
			r.N += n
		}
	}
	r.Seconds, r.CPU = time.Since(start).Seconds(), cpuSeconds()-cpu
	runtime.ReadMemStats(&after)
	r.Allocs = after.Mallocs - before.Mallocs
	return r, nil
}

func (g *goSide) callers(ctx context.Context, n int, end time.Time) (int, error) {
	var total atomic.Int64
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for time.Now().Before(end) && errs[i] == nil {
				_, errs[i] = g.actors[i].Call(ctx, "echo", payload)
				total.Add(1)
			}
		})
	}
	all.Wait()
	return int(total.Load()), errors.Join(errs...)
}

// once does an operation and returns how many calls that were.
func (g *goSide) once(ctx context.Context, op string) (int, error) {
	actor := g.actors[0]
	var err error
	switch op {
	case "call":
		_, err = actor.Call(ctx, "echo", payload)
	case "call, same requests":
		var ref *ray.ObjectRef
		if ref, err = actor.Submit(ctx, "echo", payload); err == nil {
			err = g.getObject(ctx, ref)
			ref.Release()
		}
	case "get":
		_, err = g.session.Get(ctx, g.small)
	case "get, same requests":
		err = g.getObject(ctx, g.small)
	case "put":
		var ref *ray.ObjectRef
		if ref, err = g.session.Put(ctx, payload); err == nil {
			ref.Release()
		}
	case "pipelined":
		refs := make([]*ray.ObjectRef, 200)
		var all sync.WaitGroup
		errs := make([]error, len(refs))
		for i := range refs {
			all.Go(func() { refs[i], errs[i] = actor.Submit(ctx, "echo", payload) })
		}
		all.Wait()
		if err = errors.Join(errs...); err == nil {
			_, err = g.session.GetAll(ctx, refs)
		}
		for _, ref := range refs {
			if ref != nil {
				ref.Release()
			}
		}
		return len(refs), err
	case "put100":
		if g.bigRef != nil {
			g.bigRef.Release()
		}
		g.bigRef, err = g.session.Put(ctx, g.big)
	case "get100":
		var v any
		if v, err = g.session.Get(ctx, g.bigRef); err == nil {
			if b, ok := v.([]byte); !ok || len(b) != len(g.big) {
				err = fmt.Errorf("a %T came", v)
			}
		}
	default:
		err = fmt.Errorf("unknown operation %q", op)
	}
	return 1, err
}

// getObject gets a value by the request that Python's client uses.
func (g *goSide) getObject(ctx context.Context, ref *ray.ObjectRef) error {
	id, err := hex.DecodeString(ref.ID())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "client_id", g.session.ID()))
	defer cancel()
	stream, err := g.rpc.GetObject(ctx, &raypb.GetRequest{Ids: [][]byte{id}, Timeout: 2})
	if err != nil {
		return err
	}
	answer, err := stream.Recv()
	if err == nil && !answer.GetValid() {
		err = errors.New("the get was refused")
	}
	return err
}
