package command

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/wire/credentials"
	"github.com/seedcore/seedcore/ray"
)

// lookup reads a variable; "" is one that is not set.
type lookup = func(string) string

// settings reads the environment as every command does. Beyond what Ray's own variables say, a cluster at a loopback address
// is given the token of the heads that `up` starts, so that the commands work beside `up` without being told.
func settings(get lookup) (connector.Config, error) {
	file, err := ownTokenFile(get)
	if err != nil || saysToken(get) || !isOfThisMachine(get) {
		return connector.FromLookup(get)
	}
	if _, err := os.Stat(file); err != nil {
		return connector.FromLookup(get) // no head of ours was ever started here
	}
	return connector.FromLookup(with(get, "RAY_AUTH_TOKEN_PATH", file))
}

// with is a lookup in which one variable has another value.
func with(get lookup, name, value string) lookup {
	return func(asked string) string {
		if asked == name {
			return value
		}
		return get(asked)
	}
}

// isDisabled reports whether tokens were switched off.
func isDisabled(get lookup) bool {
	mode := strings.ToLower(get("RAY_AUTH_MODE"))
	return mode == "disabled" || mode == "none"
}

// saysToken reports whether Ray's own variables, or Ray's own file, settle which token is used, or that none is.
func saysToken(get lookup) bool {
	c, err := ray.CredentialsFromEnv(func(name string) string {
		switch name {
		case "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "HOME":
			return get(name)
		}
		return ""
	})
	return err != nil || c.HasToken() || isDisabled(get)
}

// isOfThisMachine reports whether the address leads to loopback addresses alone: to others the local token is not sent.
func isOfThisMachine(get lookup) bool {
	cfg, _ := connector.FromLookup(get) // what is wrong with it is told by the caller's own
	servers, err := cfg.ClientServers()
	if err != nil || len(servers) == 0 {
		return false
	}
	for _, server := range servers {
		if !credentials.IsLoopback(server) {
			return false
		}
	}
	return true
}

// ownTokenFile is where the token of the heads that `up` starts is kept.
func ownTokenFile(get lookup) (string, error) {
	state := get("XDG_STATE_HOME")
	if !filepath.IsAbs(state) { // as the specification has it, a relative one does not count
		home := get("HOME")
		if home == "" {
			return "", errors.New("there is no place to keep the token of the local head: set HOME or XDG_STATE_HOME, or RAY_AUTH_TOKEN_PATH to a file with a token")
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "seedcore", "ray_token"), nil
}

// protection is how the local head is closed to others.
type protection struct {
	env         []string         // for the head
	credentials *ray.Credentials // for its clients, this process among them
	hint        string           // how others get in, for people
}

// open is what follows for a head without a token.
func (p protection) open() string {
	if p.usesTLS() {
		return ": every user who can read the files of RAY_USE_TLS can run programs on the head"
	}
	return ": every user of this machine can run programs on the head"
}

func (p protection) usesTLS() bool { return p.credentials != nil && p.credentials.TLS != nil }

// protect finds the token that the local head is to demand, where Ray itself would look for it, and makes one where there is
// none. TLS is taken over from the environment.
func protect(get lookup) (protection, error) {
	if !saysToken(get) {
		file, err := ownTokenFile(get)
		if err == nil {
			err = ensureToken(file)
		}
		if err != nil {
			return protection{}, err
		}
		get = with(get, "RAY_AUTH_TOKEN_PATH", file)
	}
	c, err := ray.CredentialsFromEnv(get)
	if err != nil {
		return protection{}, err
	}
	p := protection{credentials: c}
	for _, name := range []string{"RAY_USE_TLS", "RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT"} {
		if err := p.pass(name, get(name)); err != nil {
			return protection{}, err
		}
	}
	if !c.HasToken() {
		p.hint = "none, since RAY_AUTH_MODE is " + get("RAY_AUTH_MODE") + p.open()
		return p, nil
	}
	p.env = append(p.env, "RAY_AUTH_MODE=token")
	if token := strings.TrimSpace(get("RAY_AUTH_TOKEN")); token != "" {
		p.env = append(p.env, "RAY_AUTH_TOKEN="+token)
		p.hint = "that of RAY_AUTH_TOKEN; Python and the ray command want RAY_AUTH_MODE=token besides"
		return p, nil
	}
	file := get("RAY_AUTH_TOKEN_PATH")
	if file == "" {
		file = filepath.Join(get("HOME"), ".ray", "auth_token")
	}
	if err := p.pass("RAY_AUTH_TOKEN_PATH", file); err != nil {
		return protection{}, err
	}
	p.hint = "export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=" + quoted(strings.TrimPrefix(p.env[len(p.env)-1], "RAY_AUTH_TOKEN_PATH=")) +
		" for Python, the ray command and other programs"
	if p.usesTLS() {
		p.hint += ", which want RAY_USE_TLS and its files as well"
	}
	return p, nil
}

// pass hands a variable on to the head, which has another working directory.
func (p *protection) pass(name, value string) error {
	if value == "" {
		return nil
	}
	if name != "RAY_USE_TLS" {
		absolute, err := filepath.Abs(value)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		value = absolute
	}
	p.env = append(p.env, name+"="+value)
	return nil
}

// ensureToken makes the file with a new token, for this user alone, unless it is there. The token stays the same from one head
// to the next, so that those who were told where it is need not be told again.
func ensureToken(file string) (err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("token of the local head: %w", err)
	}
	info, err := os.Stat(file)
	switch {
	case err == nil && info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("token of the local head: other users can read or write %s; remove it, and another token is made", file)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("token of the local head: %w", err)
	}
	// Written under another name first: another `up` that starts at this moment must not see half of it, nor lose its own.
	draft, err := os.CreateTemp(filepath.Dir(file), "ray_token-*") // for this user alone, as the link to it
	if err != nil {
		return fmt.Errorf("token of the local head: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(draft.Name())) }()
	_, err = draft.WriteString(rand.Text() + "\n")
	if err = errors.Join(err, draft.Close()); err == nil {
		err = os.Link(draft.Name(), file)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("token of the local head: %w", err)
	}
	return nil
}

// describe says how others get into a head, once it is seen to turn away who has no token: Ray before 2.54 does not know
// tokens, and says nothing when it is to demand one.
func (p protection) describe(ctx context.Context, head *rayhead.Head) (string, error) {
	if !p.credentials.HasToken() {
		return p.hint, nil
	}
	gcs, err := ray.DialGCS(ctx, head.GCSAddress(), ray.GCSOptions{Credentials: &ray.Credentials{TLS: p.credentials.TLS}})
	switch {
	case err == nil:
		return "none, since Ray " + gcs.RayVersion() + " knows none" + p.open(), gcs.Close()
	case errors.Is(err, ray.ErrUnauthenticated):
		return p.hint, nil
	}
	return "", fmt.Errorf("whether the local head demands its token: %w", err)
}

// quoted is a word for a shell.
func quoted(word string) string {
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
