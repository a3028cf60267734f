package drills_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/raytest"
)

// outcome is what the report has of a drill.
type outcome struct {
	Drill    string          `json:"drill"`
	Actors   string          `json:"actors"`
	Seed     uint64          `json:"seed"`
	Recovery []time.Duration `json:"recovery"` // from "Ray is back" to connected, of each round
	Ours     []time.Duration `json:"ours"`     // the same without Ray's start of a session's process
	Sessions []uint64        `json:"sessions"` // that were opened in each round
	Calls    [verdicts]int   `json:"calls"`
	Timeline string          `json:"timeline"` // of the last round
	Load     string          `json:"load"`     // of the machine, when it ended
}

func (o *outcome) add(l *timeline, before, after [verdicts]int) {
	recovery, opening, sessions := l.times()
	o.Recovery = append(o.Recovery, recovery)
	o.Ours = append(o.Ours, recovery-opening)
	o.Sessions = append(o.Sessions, sessions)
	for v := range after {
		o.Calls[v] += after[v] - before[v]
	}
	o.Timeline = l.String()
}

// bar is how long our side may take to be connected once Ray is back, in the median of a drill's rounds.
const bar = 3 * time.Second

// record puts a drill that went well into the report, which keeps the other drills of an earlier run, and holds it to the bar.
func (o *outcome) record(t *testing.T) {
	if !*all {
		return
	}
	if average, err := os.ReadFile("/proc/loadavg"); err == nil {
		o.Load, _, _ = strings.Cut(string(average), " ")
	}
	cache := filepath.Join(raytest.Root(t), ".cache", "drills.json")
	known := map[string]*outcome{}
	data, err := os.ReadFile(cache)
	if err == nil {
		err = json.Unmarshal(data, &known)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	known[o.Drill] = o
	if data, err = json.MarshalIndent(known, "", "\t"); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{cache: string(data), filepath.Join(raytest.Root(t), "bench", "drills.md"): report(known)} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if took := median(o.Ours); took > bar && o.Drill != serveDrill { // whose time is that of a whole program's start
		t.Errorf("our side took %s until it was connected, p50, and the bar is %s; the machine's load is %s", seconds(took), seconds(bar), o.Load)
	}
}

func report(known map[string]*outcome) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Drills

Ray 2.60.0, %s, %d CPUs, %s. Written by %smake drills%s; docs/connector.md says what the drills are. Each drill is run
under %d callers, at random moments. Load is the machine's load average after the drill: of this test, of Ray's processes,
and of whatever else ran. Where it is far above the number of CPUs, the times are those of a machine that was busy otherwise.

*Back to connected* is the time from the moment at which nothing but our own side was in the way (Ray's port listens, the
link is whole) until the connection was %sconnected%s; 0 means that it was so by then, or that it never noticed. *Ours* is
the same without the time that Ray took to start the process of a new session. *Sessions* were opened in all rounds.
Each row passed: every call ended by its deadline, the calls that were written down are those that were done or refused,
none of the unsent and some of the maybe, each once, and Ray's list of actors was compared as the last column says.

`, runtime.Version(), runtime.NumCPU(), time.Now().Format(time.DateOnly), "`", "`", callers, "`", "`")
	fmt.Fprintf(&b, "| drill | rounds | back to connected, p50 | max | ours, p50 | max | sessions | done | refused | unsent | maybe | load | Ray's actors |\n")
	fmt.Fprintf(&b, "|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	var recovery, ours []time.Duration
	var names []string
	for _, d := range drills() {
		names = append(names, d.name)
	}
	names = append(names, gcsDrill, serveDrill)
	for _, name := range names {
		o, ran := known[name]
		if !ran {
			fmt.Fprintf(&b, "| %s | not run | | | | | | | | | | | |\n", name)
			continue
		}
		sessions := "-" // not seen from outside of the process
		if len(o.Sessions) > 0 {
			var sum uint64
			for _, n := range o.Sessions {
				sum += n
			}
			sessions = strconv.FormatUint(sum, 10)
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s | %s | %d | %d | %d | %d | %s | %s |\n", name, len(o.Recovery),
			seconds(median(o.Recovery)), seconds(slices.Max(o.Recovery)), seconds(median(o.Ours)), seconds(slices.Max(o.Ours)),
			sessions, o.Calls[done], o.Calls[refused], o.Calls[unsent], o.Calls[maybe], o.Load, o.Actors)
		if name != serveDrill {
			recovery, ours = append(recovery, o.Recovery...), append(ours, o.Ours...)
		}
	}
	if len(ours) > 0 {
		fmt.Fprintf(&b, "\nOver all %d rounds of the connector: back to connected p50 %s; ours p50 %s, max %s. The bar is %s for ours, p50, and each drill of the connector is held to it.\n",
			len(ours), seconds(median(recovery)), seconds(median(ours)), seconds(slices.Max(ours)), seconds(bar))
	}
	fmt.Fprintf(&b, "\n## Timelines\n\nOf the last round of each drill.\n")
	for _, name := range names {
		if o, ran := known[name]; ran {
			fmt.Fprintf(&b, "\n### %s\n\nSeed %d.\n\n```\n%s\n```\n", name, o.Seed, o.Timeline)
		}
	}
	return b.String()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}
