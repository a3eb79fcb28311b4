package authn

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"
)

// Options is one entry of the configuration's list `auth`. Which fields it may have depends on its kind.
type Options struct {
	Kind Kind `yaml:"kind"`
	// Issuer, Audience, Keys and Leeway are of a jwt. Leeway is in seconds, 0 to 300; nil: 30.
	Issuer   string      `yaml:"issuer"`
	Audience string      `yaml:"audience"`
	Keys     KeysOptions `yaml:"keys"`
	Leeway   *int        `yaml:"leeway"`
	// Name is the claim that names the caller (jwt, default sub), or the part of the certificate (mtls: cn, dns, uri or
	// email, default cn).
	Name string `yaml:"name"`
	// Anywhere lets none count for connections of other machines, too.
	Anywhere bool `yaml:"anywhere"`
}

// KeysOptions name an issuer's keys: exactly one of its first four.
type KeysOptions struct {
	JWKSURL  string    `yaml:"jwks_url"`
	JWKSFile string    `yaml:"jwks_file"`
	PEM      []FileKey `yaml:"pem"`
	Secret   []FileKey `yaml:"secret"`
	// JWKSCA is a file (PEM) with the authorities of the certificate at JWKSURL; empty: the system's.
	JWKSCA string `yaml:"jwks_ca"`
	// Algorithms are those that keys of a JWK Set may be used with. Required for one; keys in files of their own have
	// theirs beside them.
	Algorithms []string `yaml:"algorithms"`
}

// Open makes the chain that the entries describe. It gives every fault of all entries at once, each with the path of what
// is at fault (`auth[0].keys.pem[1]: …`) and what would be right; then there is no chain. Files are read, the network is not
// used. The log may be nil.
func Open(entries []Options, log *slog.Logger) (*Chain, []string) {
	o := opener{log: logOr(log)}
	var methods []Method
	for i := range entries {
		o.path = fmt.Sprintf("auth[%d]", i)
		o.order(entries[:i], &entries[i])
		methods = append(methods, o.method(&entries[i]))
	}
	if len(o.faults) > 0 {
		return nil, o.faults
	}
	return New(methods...), nil
}

type opener struct {
	log    *slog.Logger
	path   string
	faults []string
}

func (o *opener) fault(field, format string, args ...any) {
	at := o.path
	if field != "" {
		at += "." + field
	}
	o.faults = append(o.faults, at+": "+fmt.Sprintf(format, args...))
}

// order refuses entries that would never be asked, because one before them has the last word.
func (o *opener) order(before []Options, e *Options) {
	for i := range before {
		switch b := &before[i]; {
		case b.Kind == KindEtcd && e.Kind == KindJWT:
			o.fault("", "etcd stands before it and takes every token; put jwt before etcd")
			return
		case b.Kind != e.Kind:
		case e.Kind != KindJWT:
			o.fault("", "%s is there twice; once is enough", e.Kind)
			return
		case e.Issuer == b.Issuer && e.Issuer != "":
			o.fault("issuer", "auth[%d] has the same issuer, and has the last word about its tokens", i)
		}
	}
}

func (o *opener) method(e *Options) Method {
	o.foreign(e)
	switch e.Kind {
	case KindJWT:
		return o.jwt(e)
	case KindMTLS:
		names := []CertificateName{"", NameCN, NameDNS, NameURI, NameEmail}
		if !slices.Contains(names, CertificateName(e.Name)) {
			o.fault("name", "%q is not one of cn, dns, uri, email", e.Name)
		}
		return NewMTLS(CertificateName(e.Name))
	case KindEtcd:
		return NewEtcd()
	case KindNone:
		return NewNone(e.Anywhere)
	default:
		o.fault("kind", "%q is not one of jwt, mtls, etcd, none", e.Kind)
		return NewEtcd() // anything: the faults keep it from being used
	}
}

// foreign refuses fields that the kind does not have, which would otherwise be lost silently.
func (o *opener) foreign(e *Options) {
	for _, f := range []struct {
		name  string
		given bool
		kinds []Kind
	}{
		{"issuer", e.Issuer != "", []Kind{KindJWT}},
		{"audience", e.Audience != "", []Kind{KindJWT}},
		{"keys", e.Keys.count() > 0 || e.Keys.JWKSCA != "" || e.Keys.Algorithms != nil, []Kind{KindJWT}},
		{"leeway", e.Leeway != nil, []Kind{KindJWT}},
		{"name", e.Name != "", []Kind{KindJWT, KindMTLS}},
		{"anywhere", e.Anywhere, []Kind{KindNone}},
	} {
		if f.given && !slices.Contains(f.kinds, e.Kind) {
			o.fault(f.name, "kind %q does not have it", e.Kind)
		}
	}
}

// maxLeeway bounds the leeway, in seconds: clocks that are further apart need to be set.
const maxLeeway = 300

func (o *opener) jwt(e *Options) *JWT {
	if e.Issuer == "" {
		o.fault("issuer", "it is missing; write what the tokens' iss is, letter by letter")
	}
	if e.Audience == "" {
		o.fault("audience", "it is missing; write what the tokens' aud must name, such as etcdrest")
	}
	leeway := 30
	if e.Leeway != nil {
		leeway = *e.Leeway
	}
	if leeway < 0 || leeway > maxLeeway {
		o.fault("leeway", "%d is out of bounds; use 0 to %d seconds", leeway, maxLeeway)
	}
	return NewJWT(JWTOptions{
		Issuer: e.Issuer, Audience: e.Audience, Keys: o.keys(&e.Keys),
		Leeway: time.Duration(leeway) * time.Second, NameClaim: e.Name,
	})
}

func (k *KeysOptions) count() int {
	n := 0
	for _, given := range []bool{k.JWKSURL != "", k.JWKSFile != "", k.PEM != nil, k.Secret != nil} {
		if given {
			n++
		}
	}
	return n
}

func (o *opener) keys(k *KeysOptions) KeySource {
	if k.count() != 1 {
		o.fault("keys", "%d of jwks_url, jwks_file, pem and secret are given; give exactly one", k.count())
		return nil
	}
	if k.JWKSCA != "" && k.JWKSURL == "" {
		o.fault("keys.jwks_ca", "it is given without jwks_url")
	}
	o.algorithms(k)
	var source KeySource
	var err error
	switch {
	case k.JWKSURL != "":
		return o.jwksURL(k)
	case k.JWKSFile != "":
		if source, err = NewJWKSFile(k.JWKSFile, k.Algorithms, o.log); err != nil {
			o.fault("keys.jwks_file", "%v", err)
		}
	case k.PEM != nil:
		source = o.fileKeys("keys.pem", k.PEM, FileKey.loadPEM, NewPEMKeys)
	default:
		source = o.fileKeys("keys.secret", k.Secret, FileKey.loadSecret, NewSecretKeys)
	}
	return source
}

func (o *opener) algorithms(k *KeysOptions) {
	ofSet := k.JWKSURL != "" || k.JWKSFile != ""
	switch {
	case ofSet && len(k.Algorithms) == 0:
		o.fault("keys.algorithms", "it is missing; list what the issuer signs with, such as [RS256] or [ES256]")
	case !ofSet && k.Algorithms != nil:
		o.fault("keys.algorithms", "it goes with jwks_url and jwks_file; keys in files of their own have their algorithm beside them")
	}
	for i, name := range k.Algorithms {
		at := fmt.Sprintf("keys.algorithms[%d]", i)
		if a, err := algorithmNamed(name); err != nil {
			o.fault(at, "%v", err)
		} else if a.kty == "oct" {
			o.fault(at, "%s is for secrets, which no JWK Set may hold; name their files under secret", name)
		}
	}
}

// fileKeys tells the faults of each file at its own path.
func (o *opener) fileKeys(
	path string, files []FileKey, load func(FileKey) (*Key, error), open func([]FileKey, *slog.Logger) (KeySource, error),
) KeySource {
	faults := len(o.faults)
	for i, f := range files {
		at := fmt.Sprintf("%s[%d]", path, i)
		if f.File == "" {
			o.fault(at+".file", "it is missing")
		} else if _, err := load(f); err != nil {
			o.fault(at, "%v", err)
		}
	}
	if len(o.faults) > faults {
		return nil
	}
	source, err := open(files, o.log)
	if err != nil {
		o.fault(path, "%v", err)
	}
	return source
}

func (o *opener) jwksURL(k *KeysOptions) KeySource {
	options := JWKSURLOptions{URL: k.JWKSURL, Algorithms: k.Algorithms, Log: o.log}
	if k.JWKSCA != "" {
		roots, err := readAuthorities(k.JWKSCA)
		if err != nil {
			o.fault("keys.jwks_ca", "%v", err)
		}
		options.Roots = roots
	}
	source, err := NewJWKSURL(options)
	if err != nil {
		o.fault("keys.jwks_url", "%q: %v", k.JWKSURL, err)
		return nil
	}
	return source
}

func readAuthorities(file string) (*x509.CertPool, error) {
	content, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, errors.New(strings.TrimSpace(file) + " holds no certificate (PEM)")
	}
	return pool, nil
}
