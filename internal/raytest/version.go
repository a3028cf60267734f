package raytest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// RayVersion returns the version of the Ray that the heads of tests run, such as "2.60.0". `make test-matrix` runs the
// tests with others than the one of `make setup`.
func RayVersion(t testing.TB) string {
	t.Helper()
	version, err := rayVersion()
	if err != nil {
		t.Fatal(err)
	}
	return version
}

// RayBefore reports whether that version is an earlier one than "major.minor". A test in which Ray's versions differ asks it
// for what to expect.
func RayBefore(t testing.TB, minor string) bool {
	t.Helper()
	return number(RayVersion(t)) < number(minor)
}

// number makes versions comparable by their first two numbers: 2.60 comes after 2.9.
func number(version string) int {
	parts := strings.Split(version, ".")
	major, _ := strconv.Atoi(parts[0])
	minor, _ := strconv.Atoi(parts[1])
	return major*1000 + minor
}

var versionLine = regexp.MustCompile(`(?m)^version = "([0-9]+\.[0-9]+\.[^"]+)"`)

var rayVersion = sync.OnceValues(func() (string, error) {
	python, err := venvPython()
	if err != nil {
		return "", err
	}
	pattern := filepath.Join(filepath.Dir(python), "..", "lib", "python3.*", "site-packages", "ray", "_version.py")
	files, err := filepath.Glob(pattern)
	if err != nil {
		return "", fmt.Errorf("raytest: %w", err)
	}
	if len(files) != 1 {
		return "", fmt.Errorf("raytest: the version of Ray is unknown: there are %d files %s", len(files), pattern)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		return "", fmt.Errorf("raytest: the version of Ray is unknown: %w", err)
	}
	m := versionLine.FindSubmatch(content)
	if m == nil {
		return "", fmt.Errorf("raytest: %s does not tell the version of Ray", files[0])
	}
	return string(m[1]), nil
})
