package worker_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/rayletipc"
	"github.com/seedcore/seedcore/worker"
)

// patience bounds every wait of a test for something that has to happen.
const patience = 20 * time.Second

var (
	workerID = bytes.Repeat([]byte{0x0c}, 28)
	nodeID   = bytes.Repeat([]byte{0x0d}, 28)
	jobID    = []byte{1, 0, 0, 0}
	actorID  = append(bytes.Repeat([]byte{0x0a}, 12), jobID...)
)

type frame struct {
	typ  rayletipc.MessageType
	body []byte
}

// host is a worker in this process between a scripted raylet and GCS on one side and a real gRPC client on the other.
// A real raylet cannot be made to misbehave as these tests need it.
type host struct {
	t       *testing.T
	old     bool     // speaks as Ray before 2.54
	conn    net.Conn // the raylet's end of the socket
	request *rayletipc.RegisterClientRequest
	port    int32
	frames  chan frame // after the announcement
	infos   chan *corepb.WorkerTableData
	logs    *logBuffer
	exited  chan int
	sigterm context.CancelFunc
	client  corepb.CoreWorkerServiceClient

	mu       sync.Mutex // guards captured
	captured []string   // what the process asked to redirect
	seq      int64
}

// logBuffer collects the log of the worker.
type logBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

type gcsTable struct {
	corepb.UnimplementedWorkerInfoGcsServiceServer
	infos chan *corepb.WorkerTableData
}

func (g gcsTable) AddWorkerInfo(_ context.Context, req *corepb.AddWorkerInfoRequest) (*corepb.AddWorkerInfoReply, error) {
	g.infos <- req.GetWorkerData()
	return &corepb.AddWorkerInfoReply{Status: &corepb.GcsStatus{}}, nil
}

// start runs a worker up to the point where the raylet has its registration request.
func start(t *testing.T, r *worker.Registry, limits worker.Limits) *host {
	t.Helper()
	return startAs(t, r, limits, &worker.Launch{})
}

// startAs takes what is special from the launch.
func startAs(t *testing.T, r *worker.Registry, limits worker.Limits, launch *worker.Launch) *host {
	t.Helper()
	path := filepath.Join(t.TempDir(), "raylet")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	gcs, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{
		t: t, old: launch.Old, frames: make(chan frame, 10), infos: make(chan *corepb.WorkerTableData, 10), logs: &logBuffer{}, exited: make(chan int, 1),
	}
	gcsServer := grpc.NewServer()
	corepb.RegisterWorkerInfoGcsServiceServer(gcsServer, gcsTable{infos: h.infos})
	go func() { _ = gcsServer.Serve(gcs) }()
	t.Cleanup(gcsServer.Stop)
	launch.WorkerID, launch.JobID, launch.NodeIP, launch.Raylet = workerID, jobID, "127.0.0.1", path
	launch.GCSAddress, launch.RuntimeEnvHash, launch.LaunchTimeMs = gcs.Addr().String(), -7, 5
	p := worker.NewProcess(launch, r, limits, slog.New(slog.NewTextHandler(h.logs, nil)), func(job []byte, class string) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.captured = append(h.captured, class+string(job))
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	h.sigterm = cancel
	go func() { h.exited <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		_ = h.conn.Close()
		if h.exited != nil {
			h.exits(-1)
		}
		p.Shutdown()
	})
	if h.conn, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	typ, body, err := h.read()
	if err != nil || typ != rayletipc.TypeRegisterClientRequest {
		t.Fatalf("%v, %v", typ, err)
	}
	if h.request, err = rayletipc.UnmarshalRegisterClientRequest(body); err != nil {
		t.Fatal(err)
	}
	return h
}

// serve answers the registration and connects a client.
func (h *host) serve() *host {
	h.t.Helper()
	h.send(rayletipc.TypeRegisterClientReply, (&rayletipc.RegisterClientReply{Success: true, NodeID: nodeID}).Marshal())
	typ, body, err := h.read()
	if err != nil || typ != rayletipc.TypeAnnounceWorkerPort {
		h.t.Fatalf("%v, %v; log: %s", typ, err, h.logs)
	}
	announce, err := rayletipc.UnmarshalAnnounceWorkerPort(body)
	if err != nil {
		h.t.Fatal(err)
	}
	h.port = announce.Port
	go func() {
		defer close(h.frames)
		for {
			typ, body, err := h.read()
			if err != nil {
				return
			}
			h.frames <- frame{typ, body}
		}
	}()
	address := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(h.port)}
	conn, err := grpc.NewClient(address.String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = conn.Close() })
	h.client = corepb.NewCoreWorkerServiceClient(conn)
	return h
}

func (h *host) read() (rayletipc.MessageType, []byte, error) {
	typ, body, err := rayletipc.ReadFrame(h.conn)
	if h.old {
		typ = rayletipc.FromOld(typ)
	}
	return typ, body, err
}

func (h *host) send(typ rayletipc.MessageType, body []byte) {
	h.t.Helper()
	if h.old {
		typ = typ.Old()
	}
	if err := rayletipc.WriteFrame(h.conn, typ, body); err != nil {
		h.t.Fatal(err)
	}
}

// receives waits for the worker's next message to the raylet.
func (h *host) receives(typ rayletipc.MessageType) []byte {
	h.t.Helper()
	select {
	case f, ok := <-h.frames:
		if !ok || f.typ != typ {
			h.t.Fatalf("the raylet got %v (open %v), not %v; log: %s", f.typ, ok, typ, h.logs)
		}
		return f.body
	case <-time.After(patience):
		h.t.Fatalf("the raylet did not get %v; log: %s", typ, h.logs)
		return nil
	}
}

// goodbye waits for the worker's goodbye and answers it.
func (h *host) goodbye() *rayletipc.DisconnectClientRequest {
	h.t.Helper()
	m, err := rayletipc.UnmarshalDisconnectClientRequest(h.receives(rayletipc.TypeDisconnectClientRequest))
	if err != nil {
		h.t.Fatal(err)
	}
	h.send(rayletipc.TypeDisconnectClientReply, (&rayletipc.DisconnectClientReply{}).Marshal())
	return m
}

// exits waits for the end of the worker; a code of -1 takes any.
func (h *host) exits(code int) {
	h.t.Helper()
	select {
	case got := <-h.exited:
		h.exited = nil
		if code != -1 && got != code {
			h.t.Errorf("exit code %d, not %d; log: %s", got, code, h.logs)
		}
	case <-time.After(patience):
		h.t.Errorf("the worker does not exit; log: %s", h.logs)
	}
}

func (h *host) logged(text string) {
	h.t.Helper()
	if !strings.Contains(h.logs.String(), text) {
		h.t.Errorf("the log does not say %q: %s", text, h.logs)
	}
}

func (h *host) idle() {
	h.t.Helper()
	select {
	case f := <-h.frames:
		h.t.Errorf("the raylet got %v", f.typ)
	case code := <-h.exited:
		h.t.Errorf("the worker exited with %d", code)
	default:
	}
}
