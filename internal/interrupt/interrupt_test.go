package interrupt_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seedcore/seedcore/internal/interrupt"
)

// role makes the test binary the program that is interrupted.
const role = "SEEDCORE_INTERRUPT_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(role) == "" {
		goleak.VerifyTestMain(m)
		return
	}
	ctx, stop := interrupt.Context(os.Stdout, "program")
	fmt.Println("ready")
	<-ctx.Done()
	fmt.Println("cause:", context.Cause(ctx), errors.Is(context.Cause(ctx), interrupt.ErrSignal))
	if os.Getenv(role) == "stubborn" {
		time.Sleep(time.Minute)
	}
	stop()
	fmt.Println("in order")
}

func Example() {
	ctx, stop := interrupt.Context(os.Stderr, "program")
	defer stop()
	fmt.Println(ctx.Err())
	// Output: <nil>
}

// program starts the test binary in a role and returns a function that waits for a line which contains a text.
func program(t *testing.T, as string) (cmd *exec.Cmd, expect func(string)) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), role+"="+as)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewReader(out)
	return cmd, func(text string) {
		t.Helper()
		for {
			line, err := lines.ReadString('\n')
			if strings.Contains(line, text) {
				return
			}
			if err != nil {
				if errors.Is(err, io.EOF) {
					t.Fatalf("it ended without %q", text)
				}
				t.Fatal(err)
			}
		}
	}
}

func TestTheFirstSignalEndsInOrder(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd, expect := program(t, "obedient")
		expect("ready")
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		expect("once more ends at once")
		expect("cause: interrupted: " + s.String() + " true")
		expect("in order")
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}

func TestTheSecondSignalEndsAtOnce(t *testing.T) {
	cmd, expect := program(t, "stubborn")
	expect("ready")
	for _, text := range []string{"cause:", "ended at once"} {
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		expect(text)
	}
	err := cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 130 {
		t.Errorf("ended with %v", err)
	}
}
