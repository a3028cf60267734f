package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"

	"github.com/seedcore/seedcore/worker"
)

// subject is the same actor as the class Subject of internal/raytest/pymod/seedtest.py.
type subject struct {
	n       int64
	records []any
}

func newSubject(start int64) *subject { return &subject{n: start} }

func (s *subject) Echo(_ context.Context, value any) any { return value }

func (s *subject) Add(_ context.Context, n int64) int64 {
	s.n += n
	return s.n
}

func (s *subject) Reset(context.Context) { s.n, s.records = 0, nil }

func (s *subject) Record(_ context.Context, value any) { s.records = append(s.records, value) }

func (s *subject) Recorded(context.Context) []any { return s.records }

func (s *subject) Fail(_ context.Context, text string) error { return errors.New(text) }

func (s *subject) Size(_ context.Context, value []byte) int { return len(value) }

func (s *subject) Make(_ context.Context, size int) []byte { return bytes.Repeat([]byte("x"), size) }

// Count streams 0 to n-1, and then the error if there is a text for one.
func (s *subject) Count(ctx context.Context, n int64, text string) iter.Seq2[int64, error] {
	return func(yield func(int64, error) bool) {
		for i := range n {
			if ctx.Err() != nil || !yield(i, nil) {
				return
			}
		}
		if text != "" {
			yield(0, errors.New(text))
		}
	}
}

// Forward calls another actor of the same namespace.
func (s *subject) Forward(ctx context.Context, name, method string, arg any) (any, error) {
	return worker.FromContext(ctx).Call(ctx, name, method, arg)
}

// Later calls another actor without keeping this one.
func (s *subject) Later(ctx context.Context, name, method string, arg any) worker.Async {
	return func(ctx context.Context) (any, error) { return worker.FromContext(ctx).Call(ctx, name, method, arg) }
}

func (s *subject) Where(ctx context.Context) map[string]any {
	r := worker.FromContext(ctx)
	return map[string]any{
		"class": r.Class, "actor": r.ActorID, "name": r.ActorName, "namespace": r.Namespace, "job": r.JobID, "version": r.RayVersion, "node": r.NodeID,
	}
}

func (s *subject) Pid(context.Context) int { return os.Getpid() }

// Once ends the process unless the file is there, which it makes.
func (s *subject) Once(_ context.Context, file string) (string, error) {
	if _, err := os.Stat(file); err == nil {
		return "again", nil
	}
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		return "", err
	}
	os.Exit(3)
	return "", nil
}

func (s *subject) OnExit(ctx context.Context) {
	fmt.Println("OnExit of", worker.FromContext(ctx).ActorName)
}
