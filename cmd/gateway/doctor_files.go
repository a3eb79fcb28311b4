package main

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"time"
)

// expiry judges the end of a certificate.
func (r *report) expiry(check, target string, end, now time.Time) {
	left := end.Sub(now)
	date := end.UTC().Format(time.DateOnly)
	switch {
	case left <= 0:
		r.add(check, target, statusFail, "ended on %s", date)
	case left < 14*24*time.Hour:
		r.add(check, target, statusWarn, "ends on %s, in %d days", date, int(left.Hours()/24))
	default:
		r.add(check, target, statusOK, "valid until %s", date)
	}
}

// examineFiles judges the certificates that the configuration names. That they can be read has been checked before.
func examineFiles(c Config, now time.Time, all *report) {
	for _, file := range []string{c.TLSCert, c.TLSClientCA, c.EtcdCert, c.EtcdCACert} {
		content, err := os.ReadFile(file) //nolint:gosec // the operator names the file
		if err != nil {
			continue
		}
		for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
			if certificate, err := x509.ParseCertificate(block.Bytes); err == nil {
				all.expiry("certificate", file, certificate.NotAfter, now)
				break
			}
		}
	}
}
