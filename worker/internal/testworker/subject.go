package main

import (
	"bytes"
	"context"
	"errors"
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
