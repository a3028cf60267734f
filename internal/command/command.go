// Package command is seedcore's command line: up, serve, status, replace, check and doctor.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/connector/promray"
	"github.com/seedcore/seedcore/internal/interrupt"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

const description = `Runs an organism of agents on a Ray cluster.

The cluster is found by RAY_ADDRESS (ray://host:10001, host:6379 of the GCS, or auto), or by RAY_HOST and RAY_PORT; actors
live in the namespace RAY_NAMESPACE, else SEEDCORE_NS, else seedcore-dev. The head that up starts demands a token, which the
commands find by themselves on the same machine.`

type commandLine struct {
	Up      upCommand      `cmd:"" help:"Serve, and start a local Ray head first when neither RAY_ADDRESS nor RAY_HOST is set."`
	Serve   serveCommand   `cmd:"" help:"Serve on the cluster of RAY_ADDRESS, which may come up later. Never starts Ray."`
	Status  statusCommand  `cmd:"" help:"Show the cluster, the connection and the actors of the namespace."`
	Replace replaceCommand `cmd:"" help:"Make actors anew that another program or configuration made, one after the other; what they keep in memory is lost."`
	Check   checkCommand   `cmd:"" help:"Check this environment and cluster: a line each, exit code 1 when one fails."`
	Doctor  doctorCommand  `cmd:"" help:"Find out why there is no connection, or what is wrong with it: cause and cure, a line each."`

	LogLevel  string `help:"Least level of log lines: debug, info, warn or error; info unless the command talks itself." enum:",debug,info,warn,error" env:"SEEDCORE_LOG_LEVEL" default:""`
	LogFormat string `help:"Form of log lines on standard error." enum:"text,json" env:"SEEDCORE_LOG_FORMAT" default:"text"`
}

// streams is what a command writes to: results to out, log lines to log.
type streams struct {
	out io.Writer
	log *slog.Logger
}

// usageError is the user's to mend; it ends the program with code 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// errSilent ends the program with code 1 when the command has said all there is to say. It is returned alone: what is
// joined to it would not be printed.
var errSilent = errors.New("failed")

// Main runs the command line and returns the exit code: 0, 1 when the command failed, 2 when it was not understood.
// SIGINT and SIGTERM end a command in order; a second one ends the process at once, and says so.
func Main(args []string, stdout, stderr io.Writer) int {
	if err := unsetEmpty(); err != nil {
		fmt.Fprintln(stderr, "seedcore:", err)
		return exitFailed
	}
	var line commandLine
	code := -1
	parser, err := kong.New(&line, kong.Name("seedcore"), kong.Description(description), kong.Writers(stdout, stderr),
		kong.Exit(func(c int) { code = c }), kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		fmt.Fprintln(stderr, "seedcore:", err)
		return exitFailed
	}
	parsed, err := parser.Parse(args)
	if code >= 0 { // --help
		return code
	}
	if err != nil {
		fmt.Fprintf(stderr, "seedcore: %v\nTry: seedcore --help\n", err)
		return exitUsage
	}
	ctx, stop := interrupt.Context(stderr, "seedcore")
	defer stop()

	options := &slog.HandlerOptions{Level: line.level(parsed.Command())}
	var handler slog.Handler = slog.NewTextHandler(stderr, options)
	if line.LogFormat == "json" {
		handler = slog.NewJSONHandler(stderr, options)
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	err = parsed.Run(streams{out: stdout, log: slog.New(handler)})
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errSilent):
		return exitFailed
	}
	fmt.Fprintln(stderr, "seedcore:", err)
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// unsetEmpty makes the program's empty variables unset, which is what they count as: kong would take them for values.
func unsetEmpty() error {
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		if value == "" && strings.HasPrefix(name, "SEEDCORE_") {
			if err := os.Unsetenv(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// level is the least level of log lines. A command that tells a person what it does stays quiet beside that.
func (c *commandLine) level(command string) slog.Level {
	if c.LogLevel == "" {
		if command == "serve" {
			return slog.LevelInfo
		}
		return slog.LevelWarn
	}
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // the flag takes only names that it knows
	return level
}

// connection makes a connector from the environment.
func connection(log *slog.Logger) (*connector.Connector, error) {
	cfg, err := settings(os.Getenv)
	if err != nil {
		return nil, usageError{err}
	}
	cfg.Logger, cfg.Metrics = log, promray.New()
	return connector.New(cfg)
}

// loadConfig reads the organism's configuration, the built-in one when no file is named.
func loadConfig(path string) (organism.Config, error) {
	if path == "" {
		return organism.DefaultConfig(), nil
	}
	cfg, err := organism.LoadConfig(path)
	if err != nil {
		return cfg, usageError{err}
	}
	return cfg, nil
}

// checkWorkerBinary finds a program that Ray could not start before anything else is started.
func checkWorkerBinary(path string) error {
	if path == "" {
		if runtime.GOOS != "linux" {
			return usageError{fmt.Errorf("this is a program for %s, and Ray's nodes need one for Linux: name it by --worker-binary or SEEDCORE_WORKER_BINARY", runtime.GOOS)}
		}
		return nil
	}
	if _, err := ray.BinaryPackages(path); err != nil {
		return usageError{fmt.Errorf("--worker-binary or SEEDCORE_WORKER_BINARY: %w", err)}
	}
	return nil
}
