// Package peer drives the processes that the benches compare: each is told one operation a line on its standard input,
// as JSON, and answers with one line of JSON.
//
//	var hello struct{ Ray string }
//	p, err := peer.Start(ctx, &hello, "python", "caller.py")
//	...
//	var r struct{ Calls int }
//	err = p.Do(ctx, map[string]any{"op": "echo", "seconds": 2}, &r)
//	...
//	err = p.Close()
package peer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// Process is a process that measures. It does one thing at a time: its methods must not be called at once.
type Process struct {
	name    string
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	answers *bufio.Reader
	startup time.Duration
}

// startTime bounds how long a process takes until it is ready: Ray's drivers try for ever to reach a head that they do not.
const startTime = 2 * time.Minute

// Start runs a program and reads its first line, with which it says that it is ready, into hello. The process ends with
// ctx. It inherits the environment and the standard error.
func Start(ctx context.Context, hello any, name string, args ...string) (*Process, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "RAY_USAGE_STATS_ENABLED=0")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{name: name, cmd: cmd, stdin: stdin, answers: bufio.NewReader(stdout)}
	late := time.AfterFunc(startTime, func() { _ = cmd.Process.Kill() })
	err = p.read(hello)
	if !late.Stop() {
		err = fmt.Errorf("it was not ready within %v", startTime)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not start: %w", name, err), p.Close())
	}
	p.startup = time.Since(begun)
	return p, nil
}

// Startup is how long the process took until it was ready.
func (p *Process) Startup() time.Duration { return p.startup }

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Do has the process do a command, and reads its answer. When ctx ends first, the process is killed: there is no other
// way to stop it.
func (p *Process) Do(ctx context.Context, command, answer any) error {
	line, err := json.Marshal(command)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.cmd.Process.Kill() })
	defer stop()
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	if err := p.read(answer); err != nil {
		return errors.Join(context.Cause(ctx), fmt.Errorf("%s did not answer: %w", p.name, err))
	}
	return nil
}

func (p *Process) read(v any) error {
	line, err := p.answers.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

// Close ends the process, by the end of its input, and waits for it.
func (p *Process) Close() error { return errors.Join(p.stdin.Close(), p.cmd.Wait()) }

// Serve is the other side of a Process in Go: it says hello, then answers each line of in by what do returns for it, until
// in ends.
func Serve[C, R any](in io.Reader, out io.Writer, hello any, do func(C) (R, error)) error {
	encoder := json.NewEncoder(out)
	if err := encoder.Encode(hello); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var command C
		if err := json.Unmarshal(lines.Bytes(), &command); err != nil {
			return err
		}
		result, err := do(command)
		if err != nil {
			return fmt.Errorf("%s: %w", lines.Bytes(), err)
		}
		if err := encoder.Encode(result); err != nil {
			return err
		}
	}
	return lines.Err()
}
