package doctor_test

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/doctor"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

func TestAWellCluster(t *testing.T) {
	for _, f := range examine(t, connector.Config{Address: "ray://" + raytest.Head(t).ClientAddress()}) {
		if f.Status != doctor.OK {
			t.Errorf("%+v", f)
		}
	}
}

// Whether actors are reached is found out at their own processes.
func TestTheWayToTheActors(t *testing.T) {
	head := raytest.Head(t)
	session, err := ray.Open(t.Context(), ray.Config{Address: head.ClientAddress(), Namespace: raytest.Namespace(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close(t.Context()) }() // and with it goes the actor
	class, err := session.PythonClass(t.Context(), "seedtest", "Counter")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := session.CreateActor(t.Context(), class, ray.ActorOptions{Name: "reached", NumCPUs: 0.1}); err != nil {
		t.Fatal(err)
	}
	gcs, err := ray.DialGCS(t.Context(), head.GCSAddress(), ray.GCSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = gcs.Close() }()
	direct, err := ray.NewDirect(gcs, ray.DirectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = direct.Close(t.Context()) }()
	if _, err := direct.Call(t.Context(), session.Info().Namespace, "reached", "get"); err != nil { // so that it lives
		t.Fatal(err)
	}
	actor, err := gcs.NamedActor(t.Context(), session.Info().Namespace, "reached")
	if err != nil {
		t.Fatal(err)
	}
	worker := net.JoinHostPort(actor.IP, strconv.Itoa(actor.Port))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := listener.Addr().String()
	_ = listener.Close()
	for _, filtered := range []bool{false, true} {
		found := examine(t, connector.Config{Address: "ray://" + head.ClientAddress(), AddressMap: func(named string) string {
			if filtered && named == worker {
				return dead
			}
			return named
		}})
		want, texts := doctor.OK, []string{"processes of actors on 1 of them"}
		if filtered {
			want, texts = doctor.Warning, []string{"1 of 2 processes", worker, "Counter reached"}
		}
		f := found["direct calls"]
		for _, text := range texts {
			if f.Status != want || !strings.Contains(f.Found, text) {
				t.Errorf("%s, %q: %+v", want, text, f)
			}
		}
	}
}
