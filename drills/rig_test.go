package drills_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
)

// rig is a head behind two proxies, which stand for a name: the connection knows only their address. The processes of
// actors, whose addresses the cluster tells, are behind one each. On our side it is one connector, an organism and the callers.
type rig struct {
	t      *testing.T // whose heads and connections they are
	now    *testing.T // the drill under way
	random *rand.Rand
	env    []string // of the head

	ports        rayhead.Ports
	head         *rayhead.Head
	apart        []func() // kill what was started beside it, in place of its own processes
	session, gcs *faultproxy.Proxy
	toActors     *toActors

	namespace, ledger string
	conn              *connector.Connector
	org               *organism.Organism
	load              *load
	stopOurs          func()
	timeline          timeline
}

func newRig(t *testing.T, env ...string) *rig {
	raytest.OnlyHead(t)
	r := &rig{
		t: t, now: t, random: rand.New(rand.NewPCG(*seed, 0)), env: env,
		toActors:  &toActors{t: t, proxies: map[string]*faultproxy.Proxy{}},
		namespace: raytest.Namespace(t), ledger: filepath.Join(t.TempDir(), "ledger"),
	}
	r.ports = freePorts(t)
	r.session, r.gcs = faultproxy.New(t, address(r.ports.Client)), faultproxy.New(t, address(r.ports.GCS))
	t.Cleanup(r.end)
	return r
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// freePorts are two that a head can come back at: the kernel gives them to nobody else, and Ray neither.
func freePorts(t *testing.T) rayhead.Ports {
	t.Helper()
	free := func() int {
		for {
			port := 20000 + rand.IntN(3000)
			if listener, err := net.Listen("tcp", address(port)); err == nil {
				_ = listener.Close()
				return port
			}
		}
	}
	ports := rayhead.Ports{GCS: free()}
	for ports.Client == 0 || ports.Client == ports.GCS {
		ports.Client = free()
	}
	return ports
}

// startHead starts a head, behind the proxies, and notes when its client server began to listen.
func (r *rig) startHead(ports rayhead.Ports) {
	r.t.Helper()
	r.timeline.note("a head is started")
	r.ports = ports
	r.session.SetTarget(address(ports.Client))
	r.gcs.SetTarget(address(ports.GCS))
	ctx, stop := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	watch.Go(func() {
		for ctx.Err() == nil {
			if conn, err := net.DialTimeout("tcp", address(ports.Client), time.Second); err == nil {
				_ = conn.Close()
				r.timeline.back()
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	r.head = raytest.NewHead(r.t, rayhead.Config{Ports: ports, Env: r.env})
	stop()
	watch.Wait()
	r.timeline.note("the head has all that it should")
}

func (r *rig) killHead() {
	r.head.Kill()
	for _, stop := range r.apart {
		stop()
	}
	r.apart = nil
	r.timeline.note("the head is dead")
}

// startOurs starts all that is on our side; Ray need not be there.
func (r *rig) startOurs() {
	t := r.t
	_, text, err := net.SplitHostPort(r.session.Address())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	r.conn, err = connector.New(connector.Config{
		Address: r.gcs.Address(), ClientPort: port, Namespace: r.namespace, AddressMap: r.toActors.dialled,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.conn.OnSession("ledger", r.makeLedger)
	r.org, err = organism.New(r.conn, organism.DefaultConfig(), organism.Options{Binary: raytest.BuildGo(t, "./drills/server"), TaskTimeout: callTimeout})
	if err != nil {
		t.Fatal(err)
	}
	events := r.conn.Subscribe(10_000)
	ctx, stop := context.WithCancel(context.Background())
	var ours sync.WaitGroup
	ours.Go(func() {
		for e := range events.Events() {
			r.timeline.event(e)
		}
	})
	ours.Go(func() { r.org.Run(ctx) })
	r.conn.Start()
	r.load = startLoad(t, r.ledger, r.calls())
	r.timeline.note("%d callers begin", callers)
	r.stopOurs = func() {
		r.load.end()
		stop()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := r.conn.Close(ctx); err != nil {
			t.Error(err)
		}
		ours.Wait()
		if n := events.Dropped(); n != 0 {
			t.Errorf("%d events of the connector were dropped", n)
		}
		r.load.check(t)
		r.stopOurs = nil
	}
}

func (r *rig) end() {
	if r.stopOurs != nil {
		r.stopOurs()
	}
	if r.conn != nil && r.toActors.passed() == 0 {
		r.t.Error("no call of an actor came by the way to the actors")
	}
	r.toActors.close()
}

// up makes sure that there is something to break.
func (r *rig) up() {
	if r.head == nil {
		r.startHead(r.ports)
	}
	if r.stopOurs == nil {
		r.startOurs()
		r.recovered(nil)
	}
}

func (r *rig) makeLedger(ctx context.Context, client *ray.Client, _ uint64) error {
	class, err := client.Session().PythonClass(ctx, "seedtest", "Ledger")
	if err != nil {
		return err
	}
	_, err = client.Session().CreateActor(ctx, class, ray.ActorOptions{
		Name: "ledger", Namespace: r.namespace, Detached: true, GetIfExists: true, MaxRestarts: -1,
	}, r.ledger)
	return err
}

// calls are the kinds of calls; those that are there twice are made twice as often.
func (r *rig) calls() []call {
	onOrgan := func(ctx context.Context, number string) (verdict, error) {
		organs := r.org.Config().Organs
		organ := organs[rand.IntN(len(organs))]
		_, err := r.org.Execute(ctx, organ.ID, organism.Task{"type": "note", "id": number, "ledger": r.ledger})
		return judge(err)
	}
	onPython := func(mode ray.DirectMode, method string) call {
		return func(ctx context.Context, number string) (verdict, error) {
			client, err := r.conn.Client()
			if err == nil {
				_, err = client.WithDirect(mode).Call(ctx, r.namespace, "ledger", method, number)
			}
			return judge(err)
		}
	}
	return []call{
		onOrgan, onOrgan, onPython(ray.DirectAuto, "note"), onPython(ray.DirectAuto, "note"),
		onPython(ray.DirectOff, "note"), onPython(ray.DirectAuto, "refuse"),
	}
}

// expected is what actors finds under the names of a new cluster.
func (r *rig) expected() map[string]string {
	list := map[string]string{r.namespace + "/ledger": ""}
	for _, name := range organism.DefaultConfig().ActorNames() {
		list[r.namespace+"/"+name] = ""
	}
	return list
}

// actors is Ray's own list, in all namespaces: what of each actor that is not dead the drill expects to stay, by name.
func (r *rig) actors(ctx context.Context, same sameness) (_ map[string]string, err error) {
	gcs, err := ray.DialGCS(ctx, r.head.GCSAddress(), ray.GCSOptions{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, gcs.Close()) }()
	all, err := gcs.Actors(ctx)
	if err != nil {
		return nil, err
	}
	list := map[string]string{}
	for _, a := range all {
		if a.State == ray.ActorDead {
			continue
		}
		name := a.Namespace + "/" + a.Name
		if _, twice := list[name]; twice {
			return nil, fmt.Errorf("two actors named %s", name)
		}
		switch same {
		case sameProcesses:
			list[name] = fmt.Sprintf("%s in process %d", a.ID, a.PID)
		case sameIDs:
			list[name] = a.ID
		case sameNames:
			list[name] = ""
		}
		if a.State != ray.ActorAlive {
			return nil, fmt.Errorf("%s is %s", name, a.State)
		}
	}
	return list, nil
}

// recovered waits until all is well again by itself: the connection, the organism, the actors as before, every kind of call.
func (r *rig) recovered(before map[string]string, same ...sameness) {
	r.now.Helper()
	eventually(r.now, 3*time.Minute, "all is well again", func(ctx context.Context) error {
		info, health := r.conn.Info(), r.org.Health()
		if info.State != connector.StateConnected || !info.Ready || !info.Direct {
			return fmt.Errorf("the connection: %+v", info)
		}
		if !health.OK || health.Epoch != info.Epoch {
			return fmt.Errorf("the organism: %+v", health)
		}
		if before != nil {
			after, err := r.actors(ctx, same[0])
			if err != nil {
				return err
			}
			if fmt.Sprint(after) != fmt.Sprint(before) {
				return fmt.Errorf("Ray's actors are %v, were %v", after, before)
			}
		}
		for i, c := range r.calls() {
			number := fmt.Sprintf("%08x-trial-%d", rand.Uint64(), i)
			if v, err := c(ctx, number); err != nil || v != done && v != refused {
				return fmt.Errorf("call of kind %d: %s, %w", i, v, err)
			}
		}
		return nil
	})
}

// eventually waits for what has to come true by itself. Each look at it has ten seconds.
func eventually(t *testing.T, limit time.Duration, what string, look func(context.Context) error) {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := look(ctx)
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
	}
}
