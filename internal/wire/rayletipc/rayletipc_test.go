package rayletipc_test

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	flatbuffers "github.com/google/flatbuffers/go"

	"github.com/seedcore/seedcore/internal/wire/rayletipc"
)

var (
	request = &rayletipc.RegisterClientRequest{
		WorkerType: 1, WorkerID: bytes.Repeat([]byte{7}, 28), PID: 1 << 40, JobID: []byte{1, 0, 0, 0},
		RuntimeEnvHash: -5, Language: 2, IP: "10.0.0.1", Port: 4711, SerializedJobConfig: []byte("cfg"),
	}
	reply      = &rayletipc.RegisterClientReply{Success: true, FailureReason: "none", NodeID: bytes.Repeat([]byte{0xff}, 28), Port: 10002}
	announce   = &rayletipc.AnnounceWorkerPort{Port: 10002, Entrypoint: "python x.py"}
	disconnect = &rayletipc.DisconnectClientRequest{ExitType: 2, Detail: "why", CreationTaskException: []byte{0, 1, 2}}
)

// decoders decode a body as every message and give back what Marshal makes of it.
var decoders = map[string]func([]byte) ([]byte, error){
	"RegisterClientRequest":   decoder(rayletipc.UnmarshalRegisterClientRequest),
	"RegisterClientReply":     decoder(rayletipc.UnmarshalRegisterClientReply),
	"AnnounceWorkerPort":      decoder(rayletipc.UnmarshalAnnounceWorkerPort),
	"DisconnectClientRequest": decoder(rayletipc.UnmarshalDisconnectClientRequest),
	"DisconnectClientReply":   decoder(rayletipc.UnmarshalDisconnectClientReply),
}

func decoder[M interface{ Marshal() []byte }](unmarshal func([]byte) (M, error)) func([]byte) ([]byte, error) {
	return func(body []byte) ([]byte, error) {
		m, err := unmarshal(body)
		if err != nil {
			return nil, err
		}
		return m.Marshal(), nil
	}
}

func TestMessagesRoundTrip(t *testing.T) {
	roundTrip(t, request, rayletipc.UnmarshalRegisterClientRequest)
	roundTrip(t, reply, rayletipc.UnmarshalRegisterClientReply)
	roundTrip(t, announce, rayletipc.UnmarshalAnnounceWorkerPort)
	roundTrip(t, disconnect, rayletipc.UnmarshalDisconnectClientRequest)
	roundTrip(t, &rayletipc.DisconnectClientRequest{ExitType: 1}, rayletipc.UnmarshalDisconnectClientRequest)
	roundTrip(t, &rayletipc.DisconnectClientReply{}, rayletipc.UnmarshalDisconnectClientReply)
	roundTrip(t, &rayletipc.RegisterClientReply{FailureReason: "no"}, func(b []byte) (*rayletipc.RegisterClientReply, error) {
		m, err := rayletipc.UnmarshalRegisterClientReply(b)
		if err == nil && len(m.NodeID) == 0 {
			m.NodeID = nil // an empty string is present on the wire
		}
		return m, err
	})
}

func roundTrip[M interface{ Marshal() []byte }](t *testing.T, want M, unmarshal func([]byte) (M, error)) {
	t.Helper()
	got, err := unmarshal(want.Marshal())
	if err != nil {
		t.Fatalf("%T: %v", want, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%T: got %+v, want %+v", want, got, want)
	}
}

// The raylet reads with the generated accessors of flatbuffers, so the bytes are read here with its Go runtime, at the
// vtable offsets that those accessors use.
func TestRequestIsAFlatbufferOfTheExpectedLayout(t *testing.T) {
	body := request.Marshal()
	root := flatbuffers.Table{Bytes: body, Pos: flatbuffers.GetUOffsetT(body)}
	str := func(vtable flatbuffers.VOffsetT) string {
		return string(root.ByteVector(flatbuffers.UOffsetT(root.Offset(vtable)) + root.Pos))
	}
	if got := str(6); got != string(request.WorkerID) {
		t.Errorf("worker_id %q", got)
	}
	if got := str(10); got != string(request.JobID) {
		t.Errorf("job_id %q", got)
	}
	if got := str(16); got != request.IP {
		t.Errorf("ip_address %q", got)
	}
	if got := root.GetInt64Slot(8, 0); got != request.PID {
		t.Errorf("worker_pid %d", got)
	}
	if got := root.GetInt32Slot(12, 0); got != request.RuntimeEnvHash {
		t.Errorf("runtime_env_hash %d", got)
	}
	if got := root.GetInt32Slot(14, 0); got != request.Language {
		t.Errorf("language %d", got)
	}
}

func TestAnAbsentExceptionStaysAbsent(t *testing.T) {
	body := (&rayletipc.DisconnectClientRequest{ExitType: 1, Detail: "d"}).Marshal()
	root := flatbuffers.Table{Bytes: body, Pos: flatbuffers.GetUOffsetT(body)}
	if off := root.Offset(8); off != 0 {
		t.Errorf("creation_task_exception_pb is present at %d: the raylet would take the exit for a failed constructor", off)
	}
}

func TestDecodersAreTotal(t *testing.T) {
	for name, decode := range decoders {
		for _, valid := range [][]byte{request.Marshal(), reply.Marshal(), announce.Marshal(), disconnect.Marshal(), (&rayletipc.DisconnectClientReply{}).Marshal()} {
			for n := range len(valid) {
				_, err := decode(valid[:n])
				if n < 8 && err == nil {
					t.Fatalf("%s: accepted %d bytes", name, n)
				}
				if err != nil && !errors.Is(err, rayletipc.ErrMalformed) {
					t.Fatalf("%s: %v does not wrap ErrMalformed", name, err)
				}
			}
			for i := range valid {
				for _, v := range []byte{0, 1, 0x7f, 0x80, 0xff} {
					bad := bytes.Clone(valid)
					bad[i] = v
					_, _ = decode(bad) // must not panic
				}
			}
		}
	}
}

func TestFramesRoundTrip(t *testing.T) {
	var wire bytes.Buffer
	if err := rayletipc.WriteFrame(&wire, rayletipc.TypeRegisterClientRequest, request.Marshal()); err != nil {
		t.Fatal(err)
	}
	if err := rayletipc.WriteFrame(&wire, rayletipc.TypeActorCreationTaskDone, nil); err != nil {
		t.Fatal(err)
	}
	typ, body, err := rayletipc.ReadFrame(&wire)
	if err != nil || typ != rayletipc.TypeRegisterClientRequest || !bytes.Equal(body, request.Marshal()) {
		t.Fatalf("%v %x %v", typ, body, err)
	}
	typ, body, err = rayletipc.ReadFrame(&wire)
	if err != nil || typ != rayletipc.TypeActorCreationTaskDone || len(body) != 0 {
		t.Fatalf("%v %x %v", typ, body, err)
	}
	if _, _, err = rayletipc.ReadFrame(&wire); err != io.EOF { //nolint:errorlint // io.EOF itself is promised
		t.Fatalf("end of stream: %v", err)
	}
}

func TestWriteFrameIsOneWrite(t *testing.T) {
	var w countingWriter
	if err := rayletipc.WriteFrame(&w, rayletipc.TypeAnnounceWorkerPort, announce.Marshal()); err != nil || w != 1 {
		t.Errorf("%d writes, %v", w, err)
	}
	if err := rayletipc.WriteFrame(&w, rayletipc.TypeAnnounceWorkerPort, make([]byte, rayletipc.MaxBody+1)); err == nil || w != 1 {
		t.Errorf("an oversized body was written: %v", err)
	}
}

type countingWriter int

func (w *countingWriter) Write(p []byte) (int, error) {
	*w++
	return len(p), nil
}

func TestReadFrameRefuses(t *testing.T) {
	var whole bytes.Buffer
	if err := rayletipc.WriteFrame(&whole, rayletipc.TypeRegisterClientReply, reply.Marshal()); err != nil {
		t.Fatal(err)
	}
	frame := whole.Bytes()
	for n := 1; n < len(frame); n++ {
		if _, _, err := rayletipc.ReadFrame(bytes.NewReader(frame[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
	}
	for _, test := range []struct {
		name, want string
		at         int
	}{
		{"a wrong cookie", "cookie", 7},
		{"a length beyond the bound", "announces", 20},
		{"a negative length", "announces", 23},
	} {
		bad := bytes.Clone(frame)
		bad[test.at] = 0xff
		_, _, err := rayletipc.ReadFrame(bytes.NewReader(bad))
		if !errors.Is(err, rayletipc.ErrMalformed) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestTypesHaveRaysNames(t *testing.T) {
	for typ, want := range map[rayletipc.MessageType]string{
		rayletipc.TypeActorCreationTaskDone: "ActorCreationTaskDone", rayletipc.TypeRegisterClientRequest: "RegisterClientRequest",
		rayletipc.TypeRegisterClientReply: "RegisterClientReply", rayletipc.TypeAnnounceWorkerPort: "AnnounceWorkerPort",
		rayletipc.TypeDisconnectClientRequest: "DisconnectClientRequest", rayletipc.TypeDisconnectClientReply: "DisconnectClientReply",
		42: "MessageType(42)",
	} {
		if typ.String() != want {
			t.Errorf("%d is %q, not %q", typ, typ, want)
		}
	}
}

// What decodes must encode to something that decodes to the same.
func FuzzMessages(f *testing.F) {
	for _, body := range [][]byte{request.Marshal(), reply.Marshal(), announce.Marshal(), disconnect.Marshal(), (&rayletipc.DisconnectClientReply{}).Marshal(), {}, {4, 0, 0, 0, 0, 0, 0, 0}} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for name, decode := range decoders {
			once, err := decode(body)
			if err != nil {
				if !errors.Is(err, rayletipc.ErrMalformed) {
					t.Errorf("%s: %v does not wrap ErrMalformed", name, err)
				}
				continue
			}
			twice, err := decode(once)
			if err != nil || !bytes.Equal(once, twice) {
				t.Errorf("%s: own encoding %x decodes to %x, %v", name, once, twice, err)
			}
		}
	})
}

func FuzzReadFrame(f *testing.F) {
	var wire bytes.Buffer
	_ = rayletipc.WriteFrame(&wire, rayletipc.TypeRegisterClientReply, reply.Marshal())
	f.Add(wire.Bytes())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		for {
			typ, body, err := rayletipc.ReadFrame(r)
			if err != nil {
				return
			}
			var again bytes.Buffer
			if err := rayletipc.WriteFrame(&again, typ, body); err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(data, again.Bytes()) {
				t.Fatalf("%v with %x was not in the input", typ, body)
			}
		}
	})
}

// Observed between a worker and a raylet of Ray 2.48.
func TestTheNumbersBefore254(t *testing.T) {
	for typ, old := range map[rayletipc.MessageType]rayletipc.MessageType{
		rayletipc.TypeActorCreationTaskDone: 2, rayletipc.TypeRegisterClientRequest: 4, rayletipc.TypeRegisterClientReply: 5,
		rayletipc.TypeAnnounceWorkerPort: 6, rayletipc.TypeDisconnectClientRequest: 8, rayletipc.TypeDisconnectClientReply: 9,
	} {
		if typ.Old() != old || rayletipc.FromOld(old) != typ {
			t.Errorf("%v: %d, and back %v", typ, typ.Old(), rayletipc.FromOld(old))
		}
	}
	for _, unknown := range []rayletipc.MessageType{-1, 0, 1, 3, 10, 13, 19} {
		if typ := rayletipc.FromOld(unknown); typ >= 0 && typ <= rayletipc.TypeDisconnectClientReply {
			t.Errorf("%d is taken for %v", unknown, typ)
		}
	}
}

func TestTheStartupTokenHasASlotOfItsOwn(t *testing.T) {
	for _, has := range []bool{false, true} {
		want := rayletipc.RegisterClientRequest{
			WorkerID: []byte("w"), PID: 7, JobID: []byte("j"), RuntimeEnvHash: -3, IP: "127.0.0.1", Port: 9, SerializedJobConfig: []byte("c"),
			HasStartupToken: has,
		}
		if has {
			want.StartupToken = 1 << 40
		}
		got, err := rayletipc.UnmarshalRegisterClientRequest(want.Marshal())
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%+v came back as %+v, %v", want, got, err)
		}
	}
}
