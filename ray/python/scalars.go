package python

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"time"
)

// Decimal is a decimal.Decimal as its text, exact to the last digit: "3.14", "-1E+5", "NaN". Store it in a *big.Rat or
// *big.Float to calculate, as far as it is finite.
type Decimal string

// Python raises for exponents of more than 18 digits, on some platforms of more than 9.
var decimalText = regexp.MustCompile(`^[+-]?((\d+\.?\d*|\.\d+)([Ee][+-]?\d{1,8})?|[Ii]nf(inity)?|s?[Nn]a[Nn]\d*)$`)

// Check returns an error if Python would not read d as a Decimal.
func (d Decimal) Check() error {
	if !decimalText.MatchString(string(d)) {
		return fmt.Errorf("python: %.40q is no decimal number", string(d))
	}
	return nil
}

// String returns the text.
func (d Decimal) String() string { return string(d) }

// MarshalText implements encoding.TextMarshaler.
func (d Decimal) MarshalText() ([]byte, error) { return []byte(d), d.Check() }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Decimal) UnmarshalText(text []byte) error {
	read := Decimal(text)
	if err := read.Check(); err != nil {
		return err
	}
	if d == nil {
		return errNoDestination
	}
	*d = read
	return nil
}

// UUID is a uuid.UUID.
type UUID [16]byte

// String returns the form with dashes.
func (u UUID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// MarshalText implements encoding.TextMarshaler.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler for the form with dashes.
func (u *UUID) UnmarshalText(text []byte) error {
	if u == nil {
		return errNoDestination
	}
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return fmt.Errorf("python: %.40q is no UUID", text)
	}
	digits := make([]byte, 0, 32)
	for i, c := range text {
		if i != 8 && i != 13 && i != 18 && i != 23 {
			digits = append(digits, c)
		}
	}
	if _, err := hex.Decode(u[:], digits); err != nil {
		return fmt.Errorf("python: %.40q is no UUID", text)
	}
	return nil
}

// Date is a datetime.date.
type Date struct {
	Year  int // 1 to 9999
	Month time.Month
	Day   int
}

// Check returns an error if there is no such day.
func (d Date) Check() error {
	if d.Year < 1 || d.Year > 9999 || time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Day() != d.Day || d.Month < 1 || d.Month > 12 {
		return fmt.Errorf("python: there is no date %v", d)
	}
	return nil
}

// In returns the start of the day in a time zone; nil is UTC.
func (d Date) In(loc *time.Location) time.Time {
	return DateTime{Date: d}.In(loc)
}

// String returns the ISO form, as in 2026-11-24.
func (d Date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) }

// MarshalText implements encoding.TextMarshaler with the ISO form.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), d.Check() }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Date) UnmarshalText(text []byte) error {
	if d == nil {
		return errNoDestination
	}
	t, err := time.Parse(time.DateOnly, string(text))
	if err != nil {
		return err
	}
	*d = Date{t.Year(), t.Month(), t.Day()}
	return nil
}

// Time is a datetime.time without a time zone.
type Time struct {
	Hour, Minute, Second, Microsecond int
}

// Check returns an error if no day has such a time.
func (t Time) Check() error {
	if t.Hour < 0 || t.Hour > 23 || t.Minute < 0 || t.Minute > 59 || t.Second < 0 || t.Second > 59 || t.Microsecond < 0 || t.Microsecond > 999_999 {
		return fmt.Errorf("python: there is no time %v", t)
	}
	return nil
}

// String returns the ISO form, as in 08:30:00.000250.
func (t Time) String() string {
	if t.Microsecond == 0 {
		return fmt.Sprintf("%02d:%02d:%02d", t.Hour, t.Minute, t.Second)
	}
	return fmt.Sprintf("%02d:%02d:%02d.%06d", t.Hour, t.Minute, t.Second, t.Microsecond)
}

// MarshalText implements encoding.TextMarshaler with the ISO form.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.String()), t.Check() }

// DateTime is a datetime.datetime without a time zone ("naive"): it is no instant until someone says where. One with a
// time zone is a time.Time.
type DateTime struct {
	Date Date
	Time Time
}

// Check returns an error if there is no such day or time.
func (d DateTime) Check() error {
	if err := d.Date.Check(); err != nil {
		return err
	}
	return d.Time.Check()
}

// In returns the instant at which clocks in a time zone show d; time.Date says what happens when they do not, or twice. Nil
// is UTC.
func (d DateTime) In(loc *time.Location) time.Time {
	if loc == nil {
		loc = time.UTC
	}
	return time.Date(d.Date.Year, d.Date.Month, d.Date.Day, d.Time.Hour, d.Time.Minute, d.Time.Second, d.Time.Microsecond*1000, loc)
}

// String returns the ISO form, as in 2026-11-24T08:30:00.
func (d DateTime) String() string { return d.Date.String() + "T" + d.Time.String() }

// MarshalText implements encoding.TextMarshaler with the ISO form.
func (d DateTime) MarshalText() ([]byte, error) { return []byte(d.String()), d.Check() }
