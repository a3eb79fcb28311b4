package main

import (
	"time"

	"github.com/etcdrest/etcdrest/internal/telemetry"
)

// Config is everything that can be configured. Its fields are filled from the table of options (options.go), where each
// is documented. It holds no secret, only the names of files that hold one, so it can be printed as it is.
type Config struct {
	Listen      string
	AdminListen string
	ConfigFile  string

	Endpoints        []string
	EtcdCACert       string
	EtcdCert         string
	EtcdKey          string
	EtcdUser         string
	EtcdPasswordFile string
	DialTimeout      time.Duration

	TLSCert        string
	TLSKey         string
	TLSClientCA    string
	AllowedOrigins []string
	AllowedHosts   []string
	PublicURL      string
	AdvertiseURL   string
	InsecureNoAuth bool

	LogFormat string
	LogLevel  string

	AccessLog    string
	AuditLog     string
	AuditFailure string
	OTLPEndpoint string
	TraceRatio   float64
	TraceParent  string

	MaxBodyBytes     int64
	MaxValueBytes    int64
	MaxConnections   int64
	MaxRequests      int64
	MaxBytesInFlight int64
	MaxCalls         int64
	RequestTimeout   time.Duration

	MaxRevisionBytes    int64
	WatchLogBytes       int64
	MaxCatchupRevisions int64
	MaxStreams          int64

	ShutdownGrace time.Duration
	IdleTimeout   time.Duration

	DataDir    string
	EtcdListen string

	DoctorURL  string
	DoctorJSON bool

	Token tokenConfig

	// access is who may call and what they may do; it comes from the file alone.
	access access

	// sources says where each option's value comes from, by option name; an absent one has its default.
	sources map[string]source
}

// defaultConfig is the configuration of a gateway that is told nothing.
func defaultConfig() Config {
	return Config{
		Listen:           "127.0.0.1:8379",
		AdminListen:      "127.0.0.1:8380",
		DialTimeout:      5 * time.Second,
		LogFormat:        "text",
		LogLevel:         "info",
		AccessLog:        "off",
		AuditFailure:     "refuse",
		TraceRatio:       1,
		TraceParent:      string(telemetry.FollowParent),
		MaxBodyBytes:     12 << 20,
		MaxValueBytes:    2 << 20,
		MaxConnections:   16_384,
		MaxRequests:      2000,
		MaxBytesInFlight: 512 << 20,
		MaxCalls:         1000,

		MaxRevisionBytes:    64 << 20,
		WatchLogBytes:       128 << 20,
		MaxCatchupRevisions: 100_000,
		MaxStreams:          10_000,

		RequestTimeout: 30 * time.Second,
		ShutdownGrace:  25 * time.Second,
		IdleTimeout:    2 * time.Minute,
		DataDir:        "./etcdrest-data",
		EtcdListen:     "127.0.0.1:0",
		Token:          tokenConfig{TTL: time.Hour},
		sources:        make(map[string]source),
	}
}

// source is where a value was given.
type source string

// The sources, from the weakest to the strongest.
const (
	fromDefault     source = "default"
	fromFile        source = "file"
	fromEnvironment source = "environment"
	fromFlag        source = "flag"
	fromDev         source = "the etcd of dev"
)

func (c *Config) source(name string) source {
	if s, ok := c.sources[name]; ok {
		return s
	}
	return fromDefault
}
