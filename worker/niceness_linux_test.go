package worker_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/worker"
)

func TestThreadsThatAlwaysStartDoNotHoldUpTheWorker(t *testing.T) {
	passes := 0
	err := worker.UntilUnchanged(100, func() (bool, error) { passes++; return true, nil })
	if err == nil || !strings.Contains(err.Error(), "after 100 passes") || passes != 100 {
		t.Errorf("%v after %d passes", err, passes)
	}
	failure := errors.New("a failure")
	if err := worker.UntilUnchanged(100, func() (bool, error) { return true, failure }); !errors.Is(err, failure) {
		t.Error(err)
	}
	passes = 0
	if err := worker.UntilUnchanged(100, func() (bool, error) { passes++; return passes < 3, nil }); err != nil || passes != 3 {
		t.Errorf("%v after %d passes", err, passes)
	}
}
