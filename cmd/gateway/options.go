package main

import (
	"slices"
	"strings"
	"time"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/telemetry"
)

// option is one thing that can be configured. Flags, variables, keys of the file, help and the reference all come from
// the table below.
type option struct {
	// name is the flag without its dashes, and the key in the file.
	name string
	// commands take it as a flag.
	commands []string
	// flagOnly options are about one call of a command: no variable, no key.
	flagOnly bool
	// placeholder stands for the value in the help.
	placeholder string
	// about is the text of the help; what it can do is said, not how.
	about string
	// at gives the option's place in a configuration.
	at func(*Config) setting
}

// group is a run of options under one heading.
type group struct {
	title   string
	options []option
}

const envPrefix = "ETCDREST_"

// env is the name of the option's variable.
func (o *option) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(o.name, "-", "_"))
}

// belongsTo tells whether the command takes the option as a flag.
func (o *option) belongsTo(command string) bool { return slices.Contains(o.commands, command) }

// The sets of commands that take an option.
func gatewayCommands() []string { return []string{serveName, devName, checkName} }
func clusterCommands() []string { return []string{serveName, checkName, doctorName} }
func devCommands() []string     { return []string{devName, checkName} }
func everyCommand() []string    { return []string{serveName, devName, checkName, doctorName} }

// groups is the table of options, in the order of the help and the reference.
func groups() []group {
	return []group{
		{"Listeners", []option{
			{
				name: "listen", commands: gatewayCommands(), placeholder: "HOST:PORT",
				about: "Address of the API. Port 0 takes a free one.",
				at:    func(c *Config) setting { return text{&c.Listen} },
			},
			{
				name: "admin-listen", commands: gatewayCommands(), placeholder: "HOST:PORT",
				about: "Address of metrics, probes, profiles and the effective configuration. Empty: off.",
				at:    func(c *Config) setting { return text{&c.AdminListen} },
			},
			{
				name: "tls-cert", commands: gatewayCommands(), placeholder: "FILE",
				about: "Certificate (PEM, with its chain) that makes the API speak HTTPS; read again when the file changes.",
				at:    func(c *Config) setting { return text{&c.TLSCert} },
			},
			{
				name: "tls-key", commands: gatewayCommands(), placeholder: "FILE",
				about: "Private key of tls-cert (PEM); read again when the file changes.",
				at:    func(c *Config) setting { return text{&c.TLSKey} },
			},
			{
				name: "tls-client-ca", commands: gatewayCommands(), placeholder: "FILE",
				about: "Authorities (PEM) of which every client of the API must have a certificate; read again when the file changes, and then those known by the certificate of another are let in no more.",
				at:    func(c *Config) setting { return text{&c.TLSClientCA} },
			},
			{
				name: "max-connections", commands: gatewayCommands(), placeholder: "N",
				about: "Open connections to the API; further ones are refused at once (503; over TLS, closed).",
				at:    func(c *Config) setting { return number{&c.MaxConnections, 1} },
			},
		}},
		{"Who may call", []option{
			{
				name: "insecure-no-auth", commands: gatewayCommands(),
				about: "Let a listener have an address that other machines can reach, although nobody is asked who they are.",
				at:    func(c *Config) setting { return truth{&c.InsecureNoAuth} },
			},
			{
				name: "public-url", commands: gatewayCommands(), placeholder: "URL",
				about: "Where callers reach the gateway when a proxy gives it another name or path. Base of problem types, Location " +
					"and the contract's servers; its host and origin are allowed.",
				at: func(c *Config) setting { return text{&c.PublicURL} },
			},
			{
				name: "advertise-url", commands: gatewayCommands(), placeholder: "URL",
				about: "What /v3/cluster/member/list tells as the client URL of every member, so that clients which look for members (Patroni, say) " +
					"stay with the gateway. GET /v1/cluster shows the members' own. Empty: so does /v3.",
				at: func(c *Config) setting { return text{&c.AdvertiseURL} },
			},
			{
				name: "allowed-hosts", commands: gatewayCommands(), placeholder: "NAME,…",
				about: "Names besides localhost, IP addresses and public-url's that a request's Host may hold.",
				at:    func(c *Config) setting { return list{&c.AllowedHosts} },
			},
			{
				name: "allowed-origins", commands: gatewayCommands(), placeholder: "ORIGIN,…",
				about: "Origins (scheme://host[:port]) of other sites' pages that may call the API.",
				at:    func(c *Config) setting { return list{&c.AllowedOrigins} },
			},
		}},
		{"The etcd behind", []option{
			{
				name: "endpoints", commands: clusterCommands(), placeholder: "URL,…",
				about: "Client URLs of the members (http, https, unix or unixs).",
				at:    func(c *Config) setting { return list{&c.Endpoints} },
			},
			{
				name: "etcd-cacert", commands: clusterCommands(), placeholder: "FILE",
				about: "Authorities (PEM) that the members' certificates must come from; read again when the file changes. Empty: the system's.",
				at:    func(c *Config) setting { return text{&c.EtcdCACert} },
			},
			{
				name: "etcd-cert", commands: clusterCommands(), placeholder: "FILE",
				about: "Certificate (PEM) to show to etcd; read again when the file changes.",
				at:    func(c *Config) setting { return text{&c.EtcdCert} },
			},
			{
				name: "etcd-key", commands: clusterCommands(), placeholder: "FILE",
				about: "Private key of etcd-cert (PEM); read again when the file changes.",
				at:    func(c *Config) setting { return text{&c.EtcdKey} },
			},
			{
				name: "etcd-user", commands: everyCommand(), placeholder: "NAME",
				about: "User of etcd to be, when etcd asks for one.",
				at:    func(c *Config) setting { return text{&c.EtcdUser} },
			},
			{
				name: "etcd-password-file", commands: everyCommand(), placeholder: "FILE",
				about: "File with the password of etcd-user; one newline at its end is not part of it.",
				at:    func(c *Config) setting { return text{&c.EtcdPasswordFile} },
			},
			{
				name: "dial-timeout", commands: everyCommand(), placeholder: "SECONDS",
				about: "Time for one attempt to connect to a member, and for a call to wait for a connection.",
				at:    func(c *Config) setting { return seconds{&c.DialTimeout, time.Second, maxTimeout} },
			},
		}},
		{"Limits", []option{
			{
				name: "max-body-bytes", commands: gatewayCommands(), placeholder: "BYTES",
				about: "Largest JSON body.",
				at:    func(c *Config) setting { return size{&c.MaxBodyBytes} },
			},
			{
				name: "max-value-bytes", commands: gatewayCommands(), placeholder: "BYTES",
				about: "Largest raw body, and largest value in a JSON body once decoded.",
				at:    func(c *Config) setting { return size{&c.MaxValueBytes} },
			},
			{
				name: "max-revision-bytes", commands: gatewayCommands(), placeholder: "BYTES",
				about: "Largest revision that a watch delivers; a larger one ends it.",
				at:    func(c *Config) setting { return size{&c.MaxRevisionBytes} },
			},
			{
				name: "watch-log-bytes", commands: gatewayCommands(), placeholder: "BYTES",
				about: "Memory for the recent changes that all watches read from; whoever falls behind it catches up through etcd.",
				at:    func(c *Config) setting { return size{&c.WatchLogBytes} },
			},
			{
				name: "max-catchup-revisions", commands: gatewayCommands(), placeholder: "N",
				about: "How many revisions back a watch may begin; catching up makes etcd read that much of its log.",
				at:    func(c *Config) setting { return number{&c.MaxCatchupRevisions, 1} },
			},
			{
				name: "max-streams", commands: gatewayCommands(), placeholder: "N",
				about: "Connections that watch, at a time, and as many calls of /v3 that last; further ones are refused (503).",
				at:    func(c *Config) setting { return number{&c.MaxStreams, 1} },
			},
			{
				name: "max-requests", commands: gatewayCommands(), placeholder: "N",
				about: "Requests under way, besides streams; further ones are refused at once (503).",
				at:    func(c *Config) setting { return number{&c.MaxRequests, 1} },
			},
			{
				name: "max-bytes-in-flight", commands: gatewayCommands(), placeholder: "BYTES",
				about: "Bytes of the bodies of the requests under way, together; beyond that they are refused at once (503).",
				at:    func(c *Config) setting { return size{&c.MaxBytesInFlight} },
			},
			{
				name: "max-calls", commands: gatewayCommands(), placeholder: "N",
				about: "Calls under way at each member, of small ones and of large ones each; when etcd is slow, further ones are refused " +
					"at once (503).",
				at: func(c *Config) setting { return number{&c.MaxCalls, 1} },
			},
			{
				name: "request-timeout", commands: gatewayCommands(), placeholder: "SECONDS",
				about: "Time that a call has when it does not ask for another with timeout= (which may be up to 300).",
				at:    func(c *Config) setting { return seconds{&c.RequestTimeout, time.Second, maxTimeout} },
			},
			{
				name: "idle-timeout", commands: gatewayCommands(), placeholder: "SECONDS",
				about: "Time that a connection may be kept without a request: longer than a proxy in front keeps it, or the proxy sends into one that is just being closed.",
				at:    func(c *Config) setting { return seconds{&c.IdleTimeout, time.Second, time.Hour} },
			},
			{
				name: "shutdown-grace", commands: gatewayCommands(), placeholder: "SECONDS",
				about: "Time that requests have to finish when the gateway is told to stop; then they are cut.",
				at:    func(c *Config) setting { return seconds{&c.ShutdownGrace, 0, time.Hour} },
			},
		}},
		{"Configuration and logs", []option{
			{
				name: "config", commands: everyCommand(), placeholder: "FILE",
				about: "YAML file with options by their names.",
				at:    func(c *Config) setting { return text{&c.ConfigFile} },
			},
			{
				name: "log-format", commands: gatewayCommands(), placeholder: "text|json",
				about: "How log lines are written.",
				at:    func(c *Config) setting { return choice{&c.LogFormat, []string{"text", "json"}} },
			},
			{
				name: "log-level", commands: gatewayCommands(), placeholder: "LEVEL",
				about: "Least important lines to log: debug (in dev with etcd's own log, as far as it holds no values), info, warn or error. Requests have a log of their own: access-log.",
				at:    func(c *Config) setting { return choice{&c.LogLevel, []string{"debug", "info", "warn", "error"}} },
			},
			{
				name: "access-log", commands: gatewayCommands(), placeholder: "off|stdout|stderr|FILE",
				about: "Where a line of JSON goes for each request. A file is appended to, and opened again at SIGHUP. No whole key, value, token or query is ever in it.",
				at:    func(c *Config) setting { return text{&c.AccessLog} },
			},
			{
				name: "audit-log", commands: gatewayCommands(), placeholder: "stdout|stderr|FILE",
				about: "Where a line of JSON goes for each write: who, what, with which outcome, with whole keys and never a value. A file is appended to, and opened again at SIGHUP. Empty: off.",
				at:    func(c *Config) setting { return text{&c.AuditLog} },
			},
			{
				name: "audit-failure", commands: gatewayCommands(), placeholder: "refuse|continue",
				about: "What becomes of writes while the audit log cannot be written: they are refused (503), or made without a line, which is counted.",
				at:    func(c *Config) setting { return choice{&c.AuditFailure, []string{"refuse", "continue"}} },
			},
			{
				name: "otlp-endpoint", commands: gatewayCommands(), placeholder: "URL",
				about: "OpenTelemetry collector that traces are sent to (OTLP over HTTP); without a path, /v1/traces is added. Empty: what OTEL_EXPORTER_OTLP_ENDPOINT " +
					"says, else no traces.",
				at: func(c *Config) setting { return text{&c.OTLPEndpoint} },
			},
			{
				name: "trace-ratio", commands: gatewayCommands(), placeholder: "0…1",
				about: "Share of the traces that begin at this gateway which are sent. For a request that brings a traceparent, that decides, unless --trace-parent says otherwise.",
				at:    func(c *Config) setting { return fraction{&c.TraceRatio} },
			},
			{
				name: "trace-parent", commands: gatewayCommands(), placeholder: "follow|link|ignore",
				about: "What a caller's traceparent counts for: the request is part of his trace, which decides whether it is sent; or it begins a trace of its own, for which " +
					"--trace-ratio decides, linked with his; or nothing. Where anybody may call, follow lets anybody have every request traced.",
				at: func(c *Config) setting { return choice{&c.TraceParent, telemetry.Parents()} },
			},
		}},
		{"Only dev", []option{
			{
				name: "data-dir", commands: devCommands(), placeholder: "FOLDER",
				about: "Where the etcd of `gateway dev` keeps its data between runs.",
				at:    func(c *Config) setting { return text{&c.DataDir} },
			},
			{
				name: "etcd-listen", commands: devCommands(), placeholder: "HOST:PORT",
				about: "Address of the etcd of `gateway dev`, for etcdctl and other clients. Port 0 takes a free one.",
				at:    func(c *Config) setting { return text{&c.EtcdListen} },
			},
		}},
		{"Only doctor", []option{
			{
				name: "url", commands: []string{doctorName}, flagOnly: true, placeholder: "URL",
				about: "A gateway, reached the way callers reach it, to see whether what is in between keeps keys intact.",
				at:    func(c *Config) setting { return text{&c.DoctorURL} },
			},
			{
				name: "json", commands: []string{doctorName}, flagOnly: true,
				about: "Print the findings as JSON.",
				at:    func(c *Config) setting { return truth{&c.DoctorJSON} },
			},
		}},
		{"Only token", []option{
			{
				name: "key", commands: []string{tokenName}, flagOnly: true, placeholder: "FILE",
				about: "Private key (PEM) or secret to sign with.",
				at:    func(c *Config) setting { return text{&c.Token.Key} },
			},
			{
				name: "generate-key", commands: []string{tokenName}, flagOnly: true, placeholder: "FILE",
				about: "Make a private key in FILE, and its public part as a JWK Set in FILE.jwks.json; with an HS algorithm a secret.",
				at:    func(c *Config) setting { return text{&c.Token.GenerateKey} },
			},
			{
				name: "algorithm", commands: []string{tokenName}, flagOnly: true, placeholder: "NAME",
				about: "How to sign: RS256, PS256, ES256, EdDSA, HS256 and their kin. Empty: the usual one for the key, ES256 for a new one.",
				at:    func(c *Config) setting { return choice{&c.Token.Algorithm, authn.AlgorithmNames()} },
			},
			{
				name: "kid", commands: []string{tokenName}, flagOnly: true, placeholder: "ID",
				about: "Name of the key. Empty: its thumbprint (RFC 7638), none for a secret.",
				at:    func(c *Config) setting { return text{&c.Token.Kid} },
			},
			{
				name: "issuer", commands: []string{tokenName}, flagOnly: true, placeholder: "TEXT",
				about: "Claim iss.",
				at:    func(c *Config) setting { return text{&c.Token.Issuer} },
			},
			{
				name: "audience", commands: []string{tokenName}, flagOnly: true, placeholder: "TEXT",
				about: "Claim aud.",
				at:    func(c *Config) setting { return text{&c.Token.Audience} },
			},
			{
				name: "subject", commands: []string{tokenName}, flagOnly: true, placeholder: "TEXT",
				about: "Claim sub: whom the token names.",
				at:    func(c *Config) setting { return text{&c.Token.Subject} },
			},
			{
				name: "claim", commands: []string{tokenName}, flagOnly: true, placeholder: "NAME=VALUE",
				about: "A further claim, which may be given many times. A value that is JSON is taken as that (`uid=7`, `roles='[\"editor\"]'`), any other as text.",
				at:    func(c *Config) setting { return repeated{&c.Token.Claims} },
			},
			{
				name: "ttl", commands: []string{tokenName}, flagOnly: true, placeholder: "SECONDS",
				about: "How long the token counts.",
				at:    func(c *Config) setting { return seconds{&c.Token.TTL, time.Second, maxTTL} },
			},
		}},
	}
}

// maxTimeout is the longest that one call may take.
const maxTimeout = 300 * time.Second

// maxTTL is how long a token of `gateway token` may count.
const maxTTL = 365 * 24 * time.Hour

// options is the table without its headings.
func options() []option {
	var all []option
	for _, g := range groups() {
		all = append(all, g.options...)
	}
	return all
}
