//go:build !unix

package worker

import "errors"

func dup2(int, int) error { return errors.ErrUnsupported }
