package pickle

import (
	"fmt"
	"unicode/utf8"
)

// Python text may hold lone surrogates (a file name that is not UTF-8, for one), which pickle writes as if they were
// characters of three bytes. Go strings carry those three bytes unchanged in both directions.

// badText returns the index of the first byte of s that Python could not read as text, or -1.
func badText(s string) int {
	if utf8.ValidString(s) {
		return -1
	}
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			if !isSurrogate(s[i:]) {
				return i
			}
			size = 3
		}
		i += size
	}
	return -1
}

func isSurrogate(s string) bool {
	return len(s) >= 3 && s[0] == 0xed && s[1]&0xe0 == 0xa0 && s[2]&0xc0 == 0x80
}

func checkText(s string) error {
	if i := badText(s); i >= 0 {
		return fmt.Errorf("byte %d of a string is not UTF-8 (0x%02x)", i, s[i])
	}
	return nil
}

// appendRune is utf8.AppendRune that keeps surrogates.
func appendRune(b []byte, r rune) []byte {
	if r >= 0xd800 && r <= 0xdfff {
		return append(b, 0xed, 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f)
	}
	return utf8.AppendRune(b, r)
}
