package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// slow is never there: its constructor writes down its process and does not return.
type slow struct{}

func newSlow(ctx context.Context, file string, stubborn bool) (*slow, error) {
	if err := os.WriteFile(file, []byte(fmt.Sprintln(os.Getpid())), 0o600); err != nil {
		return nil, err
	}
	if stubborn {
		time.Sleep(time.Hour)
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func (s *slow) Pid(context.Context) int { return os.Getpid() }
