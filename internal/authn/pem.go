package authn

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// FileKey is a key in a file of its own, with the one algorithm that it is for.
type FileKey struct {
	// Kid is what a token's kid must be; empty: any, provided that no other key is for the algorithm.
	Kid string `yaml:"kid"`
	// Algorithm is required: it is never taken from the token.
	Algorithm string `yaml:"algorithm"`
	// File holds a public key or a certificate (PEM), or a secret.
	File string `yaml:"file"`
}

// loadPEM reads a public key.
func (f FileKey) loadPEM() (*Key, error) {
	content, err := readKeyFile(f.File)
	if err != nil {
		return nil, err
	}
	material, err := parsePublicPEM(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.File, err)
	}
	return f.key(material)
}

// loadSecret reads an HMAC secret: the bytes of the file, but for one line break at its end.
func (f FileKey) loadSecret() (*Key, error) {
	content, err := readKeyFile(f.File)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(content); block != nil {
		return nil, fmt.Errorf("%s: it holds a PEM block (%s), not a secret; name it under pem", f.File, block.Type)
	}
	return f.key(trimLine(content))
}

func (f FileKey) key(material crypto.PublicKey) (*Key, error) {
	k, err := newKey(f.Kid, f.Algorithm, material)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.File, err)
	}
	return k, nil
}

// maxKeyFile is the largest file of keys, and the largest answer with a JWK Set.
const maxKeyFile = 1 << 20

func readKeyFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxKeyFile {
		return nil, fmt.Errorf("%s: it has %d bytes; at most %d are read", name, info.Size(), maxKeyFile)
	}
	return os.ReadFile(name) //nolint:gosec // the operator names the file
}

// parsePublicPEM reads a public key, or that of a certificate.
func parsePublicPEM(content []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, errors.New("it holds no PEM block; a public key begins with -----BEGIN PUBLIC KEY-----")
	}
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return certificate.PublicKey, nil
	case "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY":
		return nil, errors.New("it holds a private key; the gateway needs the public one: openssl pkey -in KEY -pubout")
	default:
		return nil, fmt.Errorf("it holds a PEM block of the type %q; use a public key or a certificate", block.Type)
	}
}

// trimLine takes one line break off the end, which editors and echo put there.
func trimLine(content []byte) []byte {
	if n := len(content); n > 0 && content[n-1] == '\n' {
		content = content[:n-1]
		if n := len(content); n > 0 && content[n-1] == '\r' {
			content = content[:n-1]
		}
	}
	return content
}
