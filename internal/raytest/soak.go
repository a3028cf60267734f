package raytest

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

// soakVariable is set by `make soak`: 1 asks for the full length of its tests, 0.05 for a twentieth.
const soakVariable = "SEEDCORE_SOAK"

// Soak returns the share of a soak test's full length that is asked for, above 0 and at most 1. The test, whose name begins
// with TestSoak, is skipped where none is.
func Soak(t testing.TB) float64 {
	t.Helper()
	text := os.Getenv(soakVariable)
	if text == "" {
		t.Skip("takes minutes; make soak")
	}
	share, err := strconv.ParseFloat(text, 64)
	if err != nil || share <= 0 || share > 1 {
		t.Fatalf("%s=%q is no share between 0 and 1", soakVariable, text)
	}
	return share
}

// SoakFound writes a line of the report of `make soak`.
func SoakFound(t testing.TB, format string, args ...any) {
	t.Helper()
	fmt.Fprintf(t.Output(), "soak: | %s | %s |\n", t.Name(), fmt.Sprintf(format, args...))
}
