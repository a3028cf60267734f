package ray_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// modules are where the heads of these tests find Python's.
func modules() string {
	// The module drivertest, besides those that every head of a test can import.
	own, err := filepath.Abs("testdata/python")
	if err != nil {
		panic(err)
	}
	common, err := filepath.Abs("../internal/raytest/pymod")
	if err != nil {
		panic(err)
	}
	// What scripts/setup.sh --tests puts there; nothing else sees it.
	numpy, err := filepath.Abs("../.venv/for-tests")
	if err != nil {
		panic(err)
	}
	return strings.Join([]string{own, common, numpy}, string(filepath.ListSeparator))
}

func TestMain(m *testing.M) {
	raytest.Main(m, raytest.WithLeakCheck(), raytest.WithEnd(endExamples), raytest.WithHead(func(cfg *rayhead.Config) {
		cfg.Env = append(cfg.Env, "PYTHONPATH="+modules(), "PYTHONDONTWRITEBYTECODE=1",
			// The server keeps a thread for every stream that broke until the grace period is over, and tests break many.
			"RAY_CLIENT_SERVER_MAX_THREADS=600",
			// What cannot be set up is tried once, not three times: pip makes a virtual environment each time.
			"RUNTIME_ENV_RETRY_TIMES=1")
		cfg.ObjectStoreMemory = 300 << 20
		if os.Getenv("SEEDCORE_SOAK") != "" {
			cfg.ObjectStoreMemory = 5 << 30
		}
	}))
}

// TestOneSession runs what does no harm to a session on one: opening it takes seconds of the machine.
func TestOneSession(t *testing.T) {
	s := open(t, ray.Config{})
	for name, test := range map[string]func(*testing.T, *ray.Session){
		"values survive the round trip":             testValuesSurviveTheRoundTrip,
		"values without form are refused":           testValuesWithoutFormAreRefused,
		"values of other classes keep their parts":  testValuesOfOtherClasses,
		"values of Python's own types":              testValuesOfPythonsTypes,
		"typed values":                              testTypedValues,
		"lists and dicts of any class":              testContainers,
		"arrays":                                    testArrays,
		"refs and handles in containers":            testRefsAndHandlesInContainers,
		"large values travel in chunks":             testLargeValuesTravelInChunks,
		"options of order and labels":               testOrderAndLabels,
		"nil arguments":                             testNilWithASession,
		"large values do not stay in memory":        testLargeValuesDoNotStay,
		"gets of one ref share a transfer":          testGetsOfOneRefShareATransfer,
		"refs in values":                            testRefsInValues,
		"refs in large values":                      testRefsInLargeValues,
		"functions":                                 testFunctions,
		"typed stubs":                               testTypedStubs,
		"get all":                                   testGetAll,
		"get many values together":                  testGetAllTogether,
		"wait":                                      testWait,
		"options of tasks":                          testTaskOptions,
		"options are checked":                       testOptionsAreChecked,
		"options of tasks have effects":             testTaskOptionsHaveEffects,
		"options of actors have effects":            testActorOptionsHaveEffects,
		"calls keep their refs":                     testCallsKeepTheirRefs,
		"results of any number":                     testNumReturns,
		"retries":                                   testRetries,
		"source":                                    testSource,
		"scheduling":                                testScheduling,
		"placement groups":                          testPlacementGroups,
		"options of actors":                         testMoreActorOptions,
		"cancel":                                    testCancel,
		"cancel of a chain":                         testCancelOfAChain,
		"cancel of what a method waits for":         testCancelOfDescendants,
		"kill right after creation":                 testKillRightAfterCreation,
		"two refs to one object":                    testTwoRefsToOneObject,
		"conditions of Ray":                         testConditions,
		"conditions of Ray have types":              testTypedErrors,
		"what would end the session":                testWhatWouldEndTheSession,
		"functions are imported once":               testFunctionsAreImportedOnce,
		"exceptions of tasks":                       testExceptionsOfTasks,
		"what cannot be imported is a clean error":  testWhatCannotBeImported,
		"actors keep state and order":               testActorsKeepStateAndOrder,
		"errors of actors":                          testErrorsOfActors,
		"actor options":                             testActorOptions,
		"a Go class in Python says what is wrong":   testGoClassInAPythonProcess,
		"the key-value store":                       testKV,
		"the cluster":                               testCluster,
		"packages":                                  testPackageUpload,
		"a package that changed":                    testChangedPackage,
		"a cancelled call leaves the session alone": testCancelledCalls,
		"a cancelled put leaves the session alone":  testCancelledPut,
		"a small value is put without waiting":      testPutDoesNotWait,
		"many callers put small values":             testPutsOfManyCallers,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
	// Whatever the tests did to it.
	if err := s.Ping(deadline(t)); err != nil {
		t.Errorf("the session suffered: %v", err)
	}
}

func open(t testing.TB, cfg ray.Config) *ray.Session {
	t.Helper()
	if cfg.Address == "" {
		cfg.Address = raytest.Head(t).ClientAddress()
	}
	if cfg.Namespace == "" {
		cfg.Namespace = raytest.Namespace(t)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := ray.Open(deadline(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSession(t, s) })
	return s
}

func closeSession(t testing.TB, s *ray.Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// deadline is generous: the machine may be busy with other tests.
func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func function(name string) ray.Function { return ray.Function{Module: "drivertest", Name: name} }

func pythonClass(t testing.TB, s *ray.Session, name string) *ray.ActorClass {
	t.Helper()
	class, err := s.PythonClass(deadline(t), "drivertest", name)
	if err != nil {
		t.Fatal(err)
	}
	return class
}

func counter(t testing.TB, s *ray.Session, opts ray.ActorOptions, args ...any) *ray.ActorHandle {
	t.Helper()
	actor, err := s.CreateActor(deadline(t), pythonClass(t, s, "Counter"), opts, args...)
	if err != nil {
		t.Fatal(err)
	}
	return actor
}

// kill ends a detached actor, through a session of its own.
func kill(t testing.TB, ns, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := ray.Open(ctx, ray.Config{Address: raytest.Head(t).ClientAddress(), Namespace: ns})
	if err != nil {
		t.Error(err)
		return
	}
	defer closeSession(t, s)
	actor, err := s.GetActor(ctx, name, ns)
	if err == nil {
		err = s.Kill(ctx, actor, true)
	}
	if err != nil {
		t.Error(err)
	}
}

// waitFor polls until the condition holds.
func waitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	end := time.Now().Add(60 * time.Second)
	for !condition() {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// second drops the result of a call that is expected to fail.
func second[T any](_ T, err error) error { return err }

// pattern returns bytes that differ from place to place.
func pattern(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*7 + i>>13)
	}
	return b
}
