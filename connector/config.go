package connector

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/seedcore/seedcore/ray"
)

// Defaults of Config.
const (
	DefaultClientPort     = 10001
	DefaultGCSPort        = 6379
	DefaultNamespace      = "seedcore-dev"
	DefaultHealthInterval = 5 * time.Second
	DefaultHealthTimeout  = 5 * time.Second
	DefaultFirstBackoff   = 500 * time.Millisecond
	DefaultSlowestBackoff = 3 * time.Second
	DefaultConnectTimeout = 60 * time.Second
	DefaultCallTimeout    = 60 * time.Second
	DefaultMaxSessions    = 2
	DefaultBulkIdle       = time.Minute
	DefaultMaxSilence     = 5 * time.Minute

	DefaultClusterInterval = 10 * time.Second
	DefaultClusterTimeout  = 10 * time.Second
)

// AddressAuto stands for the cluster of this machine, as Ray itself records it.
const AddressAuto = "auto"

// Config says where the cluster is and how to watch it. The zero value is the cluster of this machine in
// DefaultNamespace.
type Config struct {
	// Address is "ray://host:port" (the Ray Client server; ClientPort without a port), "host:port" (the GCS; the session
	// then goes to the same host at ClientPort) or "auto" (default): what Ray itself notes as this machine's cluster, else port 6379 here.
	//
	// Several, separated by commas ("ray://a:10001,ray://b:10001"), are tried in turn at every attempt, from the one that
	// worked last. A session that was cut is resumed at its own address alone: the others get their turn once it is lost, at
	// the latest after ReconnectGrace. They may lead to different clusters: what is behind another address is another
	// session, with the next epoch.
	Address string
	// ClientPort is the Ray Client port where Address does not say it. Default 10001.
	ClientPort int
	// Namespace is where named actors are looked up and created. Default DefaultNamespace.
	Namespace string
	// Warnings are contradictions in the environment that were settled; Start and Connect log each once.
	Warnings []string
	// HealthInterval is the time between two checks of a connection, HealthTimeout the time that one may take. Their
	// sum bounds how long a loss stays unnoticed; a session that is cut and a call that fails for want of a link cause a check
	// at once, and while a link does not answer checks are FirstBackoff apart. HealthTimeout is also how long the opening of a connection waits for the
	// GCS, which is looked for in the background afterwards. Default 5 s each.
	HealthInterval, HealthTimeout time.Duration
	// FirstBackoff and SlowestBackoff bound the pause between two attempts to connect in the background, and between two
	// looks for a GCS that was not reachable. The pause doubles and is drawn at random below that (full jitter). While the server is full it is four times
	// as long, since an attempt takes a thread of the server. Default 0.5 s and 3 s.
	FirstBackoff, SlowestBackoff time.Duration
	// ReconnectGrace is how long the cluster keeps a session that was cut; see ray.Config. A shorter one makes for a quicker
	// change to another address, and loses refs to shorter cuts. Default ray.DefaultReconnectGrace, 30 s.
	ReconnectGrace time.Duration
	// MaxSilence is how long a session may answer nothing although its connection is up, as when its process on the head
	// hangs, until it is given up and replaced; what was under way in it fails. It counts from the last sign of life, and is at
	// least twice ReconnectGrace. Default 5 minutes.
	MaxSilence time.Duration
	// ConnectTimeout bounds the opening of a session at one address: starting its process on the head takes seconds, and it
	// fails at random. Default 60 s.
	ConnectTimeout time.Duration
	// MaxSessions bounds the sessions at a time: the main one, and those of WithBulk. Each costs a process and two threads on the
	// head, and some seconds to open. 1: there is no bulk lane. Default 2.
	MaxSessions int
	// BulkIdle is how long a session of WithBulk is kept without use. Default one minute.
	BulkIdle time.Duration
	// MaxInFlight bounds the Call and WithBulk that are under way at a time. Default ray.MaxInFlight, 10 000. What one session
	// lets wait for an answer is bounded as well: see ray.MaxInFlight.
	MaxInFlight int
	// ClusterInterval is the time between two readings of the cluster for Info.Cluster; a reading that takes long makes it
	// longer, to 20 times what it took. ClusterTimeout bounds one reading. Default 10 s each.
	ClusterInterval, ClusterTimeout time.Duration
	// CallTimeout ends every request and call, of both lanes and of the direct path, whose context has no deadline: when nothing
	// came of it for so long, see ray.Config and ray.DirectOptions. Default 60 s.
	CallTimeout time.Duration
	// Direct says whether the client makes calls of named actors directly. Default ray.DirectAuto: where that is possible.
	// With ray.DirectOff the GCS is used for look-ups alone.
	Direct ray.DirectMode
	// AddressMap, when set, gives the host:port to dial for one that the cluster names, where the two differ: behind NAT or a
	// port forward. It is asked for the GCS, unless Address names it, and for the actors' processes; from several goroutines,
	// and must not block.
	AddressMap func(address string) string
	// Dial opens all connections of the sessions, to the GCS and to actors, through a tunnel, say; nil: TCP.
	Dial ray.Dialer
	// Credentials of the cluster, for all connections. Nil: plain text, no token.
	Credentials *ray.Credentials
	// Tracer is told of every operation of the sessions and of every direct call, besides Metrics. Default: none.
	Tracer ray.Tracer
	// Metrics takes measurements. Default: none are taken.
	Metrics Metrics
	// Logger takes one line a state change. Its handler may use the connector, except for waiting in it for Close. Default:
	// discard.
	Logger *slog.Logger
}

// ConfigError names a setting that cannot be used.
type ConfigError struct {
	// Setting is the environment variable, or the field of Config where the value did not come from one.
	Setting string
	Value   string
	Problem string
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("connector: %s=%q: %s", e.Setting, e.Value, e.Problem)
}

// FromEnv reads RAY_ADDRESS, RAY_HOST, RAY_PORT, SEEDCORE_RAY_CLIENT_PORT, RAY_NAMESPACE, SEEDCORE_NS,
// SEEDCORE_DEFAULT_NAMESPACE, SEEDCORE_DIRECT, and what ray.CredentialsFromEnv reads. An empty variable counts as unset. All unusable ones are reported together, those of the
// connector each as a *ConfigError; one that has no effect beside the others is not looked into, and Warnings says so. It opens nothing.
func FromEnv() (Config, error) { return FromLookup(os.Getenv) }

// FromLookup is FromEnv with another place to look variables up; get returns "" for what is not set.
func FromLookup(get func(string) string) (Config, error) {
	cfg := Config{ClientPort: DefaultClientPort}
	if get == nil {
		return cfg, fmt.Errorf("%w: get, which looks variables up, is nil", ray.ErrInvalidOption)
	}
	var problems []error
	if text := get("SEEDCORE_RAY_CLIENT_PORT"); text != "" {
		port, err := parsePort(text)
		if err != nil {
			problems = append(problems, &ConfigError{"SEEDCORE_RAY_CLIENT_PORT", text, err.Error()})
		} else {
			cfg.ClientPort = port
		}
	}
	if text := get("SEEDCORE_DIRECT"); text != "" {
		if cfg.Direct.UnmarshalText([]byte(text)) != nil {
			problems = append(problems, &ConfigError{"SEEDCORE_DIRECT", text, "is neither auto nor off nor require"})
		}
	}
	source, err := cfg.addressFrom(get)
	if err == nil {
		if _, e := parseAddresses(cfg.Address, cfg.ClientPort); e != nil {
			err = &ConfigError{source, get(source), e.Error()}
		}
	}
	if err != nil {
		problems = append(problems, err)
	}

	if cfg.Credentials, err = ray.CredentialsFromEnv(get); err != nil {
		problems = append(problems, err)
	}

	for _, v := range ignored {
		if text := get(v.name); text != "" && v.name != "RAY_PASSWORD" && v.name != "RAY_RUNTIME_ENV" {
			cfg.warn("%s=%q is ignored: %s", v.name, text, v.why)
		} else if text != "" {
			cfg.warn("%s is ignored: %s", v.name, v.why) // its value is a secret, or may have some
		}
	}
	cfg.Namespace = DefaultNamespace
	for _, name := range []string{"SEEDCORE_DEFAULT_NAMESPACE", "SEEDCORE_NS", "RAY_NAMESPACE"} {
		if v := get(name); v != "" {
			cfg.Namespace = v
		}
	}
	if a, b := get("RAY_NAMESPACE"), get("SEEDCORE_NS"); a != "" && b != "" && a != b {
		cfg.warn("RAY_NAMESPACE=%q and SEEDCORE_NS=%q differ: RAY_NAMESPACE is used", a, b)
	}
	return cfg, errors.Join(problems...)
}

// ignored are variables of the Python system that change nothing here.
var ignored = []struct{ name, why string }{
	{"RAY_PASSWORD", "Ray Client has no password; a token goes into RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"},
	{"RAY_IGNORE_REINIT_ERROR", "connecting again is never an error"},
	{"RAY_CONNECTION_TIMEOUT", "connecting goes on for ever in the background, and each caller has its own deadline"},
	{"RAY_DASHBOARD_ADDRESS", "the dashboard is not used"},
	{"RAY_DASHBOARD_URL", "the dashboard is not used"},
	{"RAY_SERVE_ADDRESS", "Ray Serve is not used"},
	{"RAY_SERVE_URL", "Ray Serve is not used"},
	{"MW_ACTOR_NAME", "the actor is always named mw"},
	{"MISS_TRACKER_NAME", "the actor is always named miss_tracker"},
	{"SHARED_CACHE_NAME", "the actor is always named shared_cache"},
	{"AUTO_CREATE", "the singletons are always created when they are missing"},
	{"LOOKUP_RETRIES", "a missing actor is looked for until the caller's deadline"},
	{"LOOKUP_BACKOFF_S", "a missing actor is looked for until the caller's deadline"},
	{"TIER0_ATTACH_ACTORS", "agents are found by class and namespace, whoever made them"},
	{"SEEDCORE_OPTIONAL_BACKENDS", "there are no databases"},
	{"MISS_THRESHOLD", "there is no observer agent"},
	{"FORCE_STDOUT_HANDLER", "logs go to standard error, in the form that SEEDCORE_LOG_FORMAT says"},
	{"SERVE_HTTP_HOST", "Ray Serve is not used; --listen or SEEDCORE_LISTEN sets where the API listens"},
	{"SERVE_HTTP_PORT", "Ray Serve is not used; --listen or SEEDCORE_LISTEN sets where the API listens"},
	{"RAY_RUNTIME_ENV", "tasks and actors have the runtime environment that the program gives them, else the cluster's"},
	{"RAY_ENABLE_AUTO_CONNECT", "nothing connects unless it is told to"},
	{"ENERGY_LEDGER_ROOT", "no checkpoints are kept"},
	{"SEEDCORE_API_ADDRESS", "nothing calls the own API; --listen or SEEDCORE_LISTEN sets where it listens"},
}

// addressFrom settles the address, and names the variable that it comes from.
func (c *Config) addressFrom(get func(string) string) (source string, err error) {
	address, host, port := get("RAY_ADDRESS"), get("RAY_HOST"), get("RAY_PORT")
	fromHost := "ray://" + net.JoinHostPort(host, port)
	switch {
	case address != "":
		if host != "" && address != fromHost {
			c.warn("RAY_HOST=%q is ignored: RAY_ADDRESS=%q decides", host, address)
		}
		if port != "" && address != fromHost {
			c.warn("RAY_PORT=%q is ignored: RAY_ADDRESS=%q decides", port, address)
		}
		c.Address = address
		return "RAY_ADDRESS", nil
	case host == "":
		if port != "" {
			c.warn("RAY_PORT=%q is ignored: it goes with RAY_HOST, which is not set", port)
		}
		c.Address = AddressAuto
		return "RAY_ADDRESS", nil
	case port == "":
		c.Address = "ray://" + net.JoinHostPort(host, strconv.Itoa(c.ClientPort))
		return "RAY_HOST", nil
	case strings.Contains(port, "://"):
		return "RAY_PORT", &ConfigError{"RAY_PORT", port, "is no port number but what Kubernetes sets in the pods beside a service named \"ray\"; " +
			"set RAY_ADDRESS=ray://" + net.JoinHostPort(host, strconv.Itoa(c.ClientPort)) + ", or RAY_PORT, or enableServiceLinks: false in the pod"}
	}
	if _, err := parsePort(port); err != nil {
		return "RAY_PORT", &ConfigError{"RAY_PORT", port, err.Error()}
	}
	c.Address = fromHost
	return "RAY_HOST", nil
}

func (c *Config) warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...))
}

// withDefaults fills what is empty and checks the rest.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.Address, AddressAuto)
	setDefault(&c.ClientPort, DefaultClientPort)
	setDefault(&c.Namespace, DefaultNamespace)
	setDefault(&c.HealthInterval, DefaultHealthInterval)
	setDefault(&c.HealthTimeout, DefaultHealthTimeout)
	setDefault(&c.FirstBackoff, DefaultFirstBackoff)
	setDefault(&c.SlowestBackoff, DefaultSlowestBackoff)
	setDefault(&c.ReconnectGrace, ray.DefaultReconnectGrace)
	setDefault(&c.MaxSilence, DefaultMaxSilence)
	setDefault(&c.ConnectTimeout, DefaultConnectTimeout)
	setDefault(&c.ClusterInterval, DefaultClusterInterval)
	setDefault(&c.ClusterTimeout, DefaultClusterTimeout)
	setDefault(&c.CallTimeout, DefaultCallTimeout)
	setDefault(&c.MaxSessions, DefaultMaxSessions)
	setDefault(&c.BulkIdle, DefaultBulkIdle)
	setDefault(&c.MaxInFlight, ray.MaxInFlight)
	if c.Metrics == nil {
		c.Metrics = noMetrics{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	var problems []error
	if _, err := parseAddresses(c.Address, c.ClientPort); err != nil {
		problems = append(problems, &ConfigError{"Address", c.Address, err.Error()})
	}
	port := strconv.Itoa(c.ClientPort)
	if _, err := parsePort(port); err != nil {
		problems = append(problems, &ConfigError{"ClientPort", port, err.Error()})
	}
	if c.Direct < ray.DirectAuto || c.Direct > ray.DirectRequire {
		problems = append(problems, &ConfigError{"Direct", strconv.Itoa(int(c.Direct)), "is none of the modes of package ray"})
	}
	for name, d := range map[string]time.Duration{
		"HealthInterval": c.HealthInterval, "HealthTimeout": c.HealthTimeout, "FirstBackoff": c.FirstBackoff, "SlowestBackoff": c.SlowestBackoff - c.FirstBackoff + 1,
		"ReconnectGrace": c.ReconnectGrace, "ConnectTimeout": c.ConnectTimeout, "CallTimeout": c.CallTimeout,
		"BulkIdle": c.BulkIdle, "MaxSilence": c.MaxSilence,
		"ClusterInterval": c.ClusterInterval, "ClusterTimeout": c.ClusterTimeout,
	} {
		if d <= 0 {
			problems = append(problems, &ConfigError{name, d.String(), "is not a usable duration (SlowestBackoff must not be below FirstBackoff)"})
		}
	}
	for name, n := range map[string]int{"MaxSessions": c.MaxSessions, "MaxInFlight": c.MaxInFlight} {
		if n < 1 {
			problems = append(problems, &ConfigError{name, strconv.Itoa(n), "has to be at least 1"})
		}
	}
	return c, errors.Join(problems...)
}

func setDefault[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}
