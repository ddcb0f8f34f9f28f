package tlsconf

import (
	"bytes"
	"crypto/x509"
	"strings"
)

// purpose is what a file is read for: the advice depends on it.
type purpose uint8

const (
	purposeCA purpose = iota
	purposeCert
	purposeKey
)

// The beginnings of files in other formats, and object identifiers (DER) that stand in them.
const (
	magicJKS   = "\xfe\xed\xfe\xed"
	magicJCEKS = "\xce\xce\xce\xce"

	oidSignedData = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02" // PKCS #7
	oidPBES       = "\x2a\x86\x48\x86\xf7\x0d\x01\x05"             // PKCS #5: encryption by a password
)

// diagnose says what a file without PEM is and which command makes PEM of it.
func diagnose(data []byte, path string, why purpose) string {
	file := shell(path)
	to := "out.pem"
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return "is empty"
	case bytes.HasPrefix(data, []byte(magicJKS)), bytes.HasPrefix(data, []byte(magicJCEKS)):
		if why == purposeCA {
			return "is a Java keystore, not PEM: convert it with keytool -list -rfc -keystore " + file + " > " + to
		}
		return "is a Java keystore, not PEM: convert it with keytool -importkeystore -srckeystore " + file +
			" -destkeystore out.p12 -deststoretype PKCS12 and then openssl pkcs12 -in out.p12 -nodes -out " + to
	case isPKCS12(data):
		if why == purposeCA {
			return "is PKCS#12, not PEM: convert it with openssl pkcs12 -in " + file + " -nokeys -out " + to
		}
		return "is PKCS#12, not PEM: convert it with openssl pkcs12 -in " + file + " -nodes -out " + to
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return "is text in UTF-16: save it as UTF-8"
	case bytes.Contains(firstBytes(data), []byte(oidSignedData)):
		return "is PKCS#7, not PEM: convert it with openssl pkcs7 -inform der -in " + file + " -print_certs -out " + to
	}
	if _, err := x509.ParseCertificate(data); err == nil {
		return "is a certificate in DER, not PEM: convert it with openssl x509 -inform der -in " + file + " -out " + to
	}
	if _, err := parseKey(data); err == nil {
		return "is a private key in DER, not PEM: convert it with openssl pkey -inform der -in " + file + " -out " + to
	}
	if bytes.HasPrefix(data, []byte{0x30}) && bytes.Contains(firstBytes(data), []byte(oidPBES)) {
		return "is a private key in DER with a password, not PEM: convert it with openssl pkcs8 -inform der -in " + file + " -out " + to
	}
	if why == purposeKey {
		return "holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)"
	}
	return "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
}

func firstBytes(data []byte) []byte { return data[:min(len(data), 64)] }

// isPKCS12 looks for a sequence that begins with the version, 3 (RFC 7292, section 4).
func isPKCS12(der []byte) bool {
	if len(der) < 8 || der[0] != 0x30 {
		return false
	}
	head := 2
	if der[1] > 0x80 {
		head += int(der[1] & 0x7f) // bytes of the length; 0x80 is a length that is not told
	}
	return head+3 <= len(der) && bytes.Equal(der[head:head+3], []byte{2, 1, 3})
}

// shell is a path as an argument of a command.
func shell(path string) string {
	if !strings.ContainsAny(path, " \t\n\"'\\$&|;<>()*?[]#~`!{}") {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
