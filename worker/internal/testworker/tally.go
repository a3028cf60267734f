package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"
)

// tally is the same actor as the class Tally of internal/raytest/pymod/seedtest.py.
type tally struct {
	file *os.File
	life string
	n    int64
}

func newTally(path string) (*tally, error) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	return &tally{file: file, life: rand.Text()}, err
}

// Count counts the call and writes it down in one write, so that lines of several processes do not mix. Then it takes some
// more time.
func (t *tally) Count(_ context.Context, call string, seconds float64) (int64, error) {
	t.n++
	if _, err := fmt.Fprintf(t.file, "%s %s %d\n", call, t.life, t.n); err != nil {
		return 0, err
	}
	time.Sleep(time.Duration(seconds * float64(time.Second)))
	return t.n, nil
}

// Refuse does the same, and fails.
func (t *tally) Refuse(ctx context.Context, call string, seconds float64) error {
	_, err := t.Count(ctx, call, seconds)
	return errors.Join(err, errors.New("refused"))
}
