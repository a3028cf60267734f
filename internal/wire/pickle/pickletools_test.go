package pickle_test

import (
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/internal/wire/oracle"
	"github.com/seedcore/seedcore/internal/wire/pickle"
)

// tolerated are complaints of pickletools about what CPython itself reads.
func tolerated(verdict string) bool {
	return strings.Contains(verdict, "already defined") || // a memo entry that is written again
		strings.Contains(verdict, "'ascii' codec") // a name in UTF-8 in the lines of GLOBAL
}

func accepts(data []byte) bool {
	_, err := pickle.Unmarshal(data, pickle.Options{
		Persistent: func(any) (any, error) { return nil, nil }, MaxDepth: 1000,
		Buffers: [][]byte{{1}, {2}, {3}},
	})
	return err == nil
}

// verdicts asks pickletools about pickles.
func verdicts(t testing.TB, o *oracle.Oracle, pickles ...[]byte) []string {
	t.Helper()
	var encoded []string
	for _, data := range pickles {
		encoded = append(encoded, base64.StdEncoding.EncodeToString(data))
	}
	var answer struct{ Verdicts []string }
	o.Ask(t, map[string]any{"ask": "well-formed", "pickles": encoded}, &answer)
	return answer.Verdicts
}

// ownSeeds are pickles that Go wrote, and what people got wrong.
func ownSeeds() [][]byte {
	var seeds [][]byte
	for _, c := range written {
		if data, err := pickle.Marshal(c.value); err == nil && len(data) < 300 {
			seeds = append(seeds, data)
		}
	}
	for _, data := range byHand {
		seeds = append(seeds, []byte(data))
	}
	for _, c := range malformed {
		if len(c.data) < 300 {
			seeds = append(seeds, []byte(c.data))
		}
	}
	return seeds
}

// pythonSeeds are pickles that CPython wrote, in all protocols.
func pythonSeeds(t testing.TB, o *oracle.Oracle) [][]byte {
	t.Helper()
	var seeds [][]byte
	var answer struct {
		Values []struct{ Name, Pickle string }
	}
	o.Ask(t, map[string]any{"ask": "values"}, &answer)
	for _, v := range answer.Values {
		if data, err := base64.StdEncoding.DecodeString(v.Pickle); err == nil && len(data) < 300 && strings.HasSuffix(v.Name, "/c") {
			seeds = append(seeds, data)
		}
	}
	return seeds
}

// What Unmarshal accepts, pickletools finds well formed: tried with pickles that were damaged a little.
func TestUnmarshalAcceptsOnlyWhatPickletoolsDoes(t *testing.T) {
	o := oracle.Start(t)
	seeds := append(ownSeeds(), pythonSeeds(t, o)...)
	random := rand.New(rand.NewPCG(2026, 11))
	var accepted [][]byte
	tried := 0
	for _, seed := range seeds {
		for range 10 {
			data := damage(random, seed, seeds)
			tried++
			if accepts(data) {
				accepted = append(accepted, data)
			}
		}
	}
	if len(accepted) < tried/50 || len(accepted) > tried*9/10 {
		t.Errorf("%d of %d were accepted: the damage tests nothing", len(accepted), tried)
	}
	for i, verdict := range verdicts(t, o, accepted...) {
		if verdict != "" && !tolerated(verdict) {
			t.Errorf("%q was accepted; pickletools: %s", accepted[i], verdict)
		}
	}
}

// damage changes, drops, adds or borrows some bytes.
func damage(random *rand.Rand, seed []byte, others [][]byte) []byte {
	data := append([]byte(nil), seed...)
	for range 1 + random.IntN(3) {
		if len(data) == 0 {
			break
		}
		at := random.IntN(len(data))
		switch random.IntN(5) {
		case 0:
			data[at] = byte(random.IntN(256))
		case 1:
			data = append(data[:at], data[at+1:]...)
		case 2: // opcodes, mostly
			data = append(data[:at], append([]byte{"().0123Nae]}hqbRts\x85\x86\x87\x88\x89\x8f\x90\x91\x93\x94\x97\x98"[random.IntN(29)]}, data[at:]...)...)
		case 3:
			other := others[random.IntN(len(others))]
			from := random.IntN(len(other) + 1)
			data = append(data[:at], append(append([]byte(nil), other[from:min(len(other), from+random.IntN(12))]...), data[at:]...)...)
		case 4:
			to := random.IntN(len(data))
			data[at], data[to] = data[to], data[at]
		}
	}
	return data
}

// FuzzWellFormed is the same for what the fuzzer finds. Its corpus is of pickles that CPython wrote.
func FuzzWellFormed(f *testing.F) {
	o := oracle.Start(f)
	for _, seed := range ownSeeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !accepts(data) {
			return
		}
		if verdict := verdicts(t, o, data)[0]; verdict != "" && !tolerated(verdict) {
			t.Fatalf("%q was accepted; pickletools: %s", data, verdict)
		}
	})
}
