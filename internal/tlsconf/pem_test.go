package tlsconf

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"functiongraph-ingest/internal/skiptest"
	"functiongraph-ingest/internal/tlsconf/tlstest"
)

func TestPairFiles(t *testing.T) {
	ca := tlstest.CA(t, "ca")
	between := ca.Issue(t, "between", tlstest.Authority)
	me, other := between.Issue(t, "me"), between.Issue(t, "other")
	leaf := tlstest.Block("CERTIFICATE", me.Cert.Raw)
	middle := tlstest.Block("CERTIFICATE", between.Cert.Raw)
	root := tlstest.Block("CERTIFICATE", ca.Cert.Raw)
	sec1, _ := x509.MarshalECPrivateKey(me.Key)
	list := func(contents ...[]byte) (paths []string) {
		for _, c := range contents {
			paths = append(paths, tlstest.Write(t, "f.pem", c))
		}
		return paths
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, tt := range []struct {
		name  string
		certs []string
		key   string
		chain int // certificates that are sent
		want  string
	}{
		{"two files", list(leaf), list(me.KeyPEM())[0], 1, ""},
		{"SEC 1", list(leaf), list(tlstest.Block("EC PRIVATE KEY", sec1))[0], 1, ""},
		{"parameters before the key", list(leaf), list(join(tlstest.Block("EC PARAMETERS", []byte{6, 0}), me.KeyPEM()))[0], 1, ""},
		{"one file", list(join(leaf, middle, me.KeyPEM())), "", 2, ""},
		{"key first, text around it", list(join([]byte("Bag Attributes\n  friendlyName: me\n"), me.KeyPEM(), []byte("subject=CN = me\n"), leaf)), "", 1, ""},
		{"three files in any order", list(middle, me.KeyPEM(), leaf), "", 2, ""},
		{"the whole chain upside down", list(join(root, middle, leaf, me.KeyPEM())), "", 3, ""},
		{"twice the same, and a stranger's", list(join(leaf, leaf, other.CertPEM(), me.KeyPEM()), me.KeyPEM()), "", 2, ""},
		{"Windows", list(append([]byte("\xef\xbb\xbf"), bytes.ReplaceAll(join(leaf, me.KeyPEM()), []byte("\n"), []byte("\r\n"))...)), "", 1, ""},

		{"no key", list(leaf), "", 0, "holds no private key: name the file that does in --tls-key"},
		{"a key as certificate", list(root), list(root)[0], 0, "holds no private key, only certificates"},
		{"another key", list(leaf), list(other.KeyPEM())[0], 0, "holds the private key of another certificate than "},
		{"two keys", list(join(leaf, me.KeyPEM(), other.KeyPEM())), "", 0, "holds more than one private key: leave one"},
		{"two keys in two files", list(join(leaf, me.KeyPEM())), list(other.KeyPEM())[0], 0, "holds a private key, and "},
		{"a request", list(tlstest.Block("CERTIFICATE REQUEST", []byte{1})), list(me.KeyPEM())[0], 0, "holds no certificate, only CERTIFICATE REQUEST"},
		{"a public key", list(leaf), list(tlstest.Block("PUBLIC KEY", []byte{1}))[0], 0, "holds no private key, only PUBLIC KEY"},
		{"a broken key", list(leaf), list(tlstest.Block("PRIVATE KEY", []byte{1}))[0], 0, "holds a private key that cannot be read"},
		{"cut off", list(leaf), list(me.KeyPEM()[:80])[0], 0, "is damaged: block 1 of PEM is not complete"},
		{"cut off behind", list(join(leaf, me.KeyPEM()[:80])), "", 0, "is damaged: block 2 of PEM is not complete"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pair, err := loadPair(tt.certs, tt.key, "--tls-key")
			check(t, err, tt.want)
			if err == nil && (len(pair.Certificate) != tt.chain || !bytes.Equal(pair.Certificate[0], me.Cert.Raw)) {
				t.Errorf("%d certificates, want %d with the own one first", len(pair.Certificate), tt.chain)
			}
			if err != nil && strings.Contains(err.Error(), string(me.KeyPEM()[40:60])) {
				t.Error("the message has a piece of the key")
			}
		})
	}
}

func TestCAFiles(t *testing.T) {
	a, b := tlstest.CA(t, "a"), tlstest.CA(t, "b")
	got, err := loadCA([]string{tlstest.Write(t, "a.pem", a.CertPEM(), b.CertPEM()), tlstest.Write(t, "b.pem", b.CertPEM())})
	if err != nil || len(got) != 3 {
		t.Errorf("%d, %v", len(got), err)
	}
	dir := t.TempDir()
	for _, tt := range []struct{ name, path, want string }{
		{"missing", filepath.Join(dir, "none"), "none: must be a file that can be read: stat "},
		{"a folder", dir, "must be a regular file"},
		{"a device", os.DevNull, "must be a regular file"},
		{"empty", tlstest.Write(t, "e", []byte(" \n")), "is empty"},
		{"text", tlstest.Write(t, "e", []byte("hello")), "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"},
		{"a key", tlstest.Write(t, "e", a.KeyPEM()), "holds no certificate, only PRIVATE KEY"},
		{"UTF-16", tlstest.Write(t, "e", []byte("\xff\xfe-\x00")), "is text in UTF-16: save it as UTF-8"},
		{"one that is broken", tlstest.Write(t, "e", a.CertPEM(), tlstest.Block("CERTIFICATE", []byte{1})), "holds a certificate that cannot be read (number 2)"},
		{"cut off", tlstest.Write(t, "e", a.CertPEM(), b.CertPEM()[:100]), "is damaged: block 2"},
		{"huge", tlstest.Write(t, "e", make([]byte, maxFile+1)), "is larger than 4 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := loadCA([]string{tlstest.Write(t, "good.pem", b.CertPEM()), tt.path})
			check(t, err, tt.want)
			var file *Error
			if !errors.As(err, &file) || file.Path != tt.path {
				t.Errorf("%#v does not name the file", err)
			}
		})
	}
}

func TestSystemAuthorities(t *testing.T) {
	c, err := NewClient(Settings{Verify: VerifyFull})
	if err != nil || c.material.Load().roots != nil {
		t.Errorf("%+v", err)
	}
}

// The files that Java and others write, made by their own tools. The command in the message makes a file that can
// be used: it is run as it stands, with the password on its standard input.
func TestOtherFormats(t *testing.T) {
	dir := t.TempDir()
	ca := tlstest.CA(t, "ca")
	me := ca.Issue(t, "me")
	write := func(name string, contents ...[]byte) {
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Join(contents, nil), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ca.pem", ca.CertPEM())
	write("me.pem", me.CertPEM(), me.KeyPEM())
	write("me's ca.der", ca.Cert.Raw)
	write("key.der", me.KeyDER())
	for _, command := range []string{
		"openssl pkcs12 -export -in me.pem -certfile ca.pem -name me -passout pass:secret -out me.p12",
		"openssl pkcs12 -export -nokeys -in ca.pem -passout pass:secret -out ca.p12",
		"openssl crl2pkcs7 -nocrl -certfile ca.pem -outform der -out ca.p7b",
		"openssl crl2pkcs7 -nocrl -certfile ca.pem -out p7.pem",
		"openssl pkcs8 -topk8 -in me.pem -passout pass:secret -out encrypted.pem",
		"openssl pkcs8 -topk8 -in me.pem -passout pass:secret -outform der -out encrypted.der",
		"openssl ec -in me.pem -aes256 -passout pass:secret -out old.pem",
		"keytool -importcert -noprompt -alias ca -file ca.pem -storetype JKS -storepass secret -keystore ca.jks",
		"keytool -importkeystore -srckeystore me.p12 -srcstorepass secret -destkeystore me.jks -deststoretype JKS -deststorepass secret -noprompt",
		"keytool -importkeystore -srckeystore me.p12 -srcstorepass secret -destkeystore me.jceks -deststoretype JCEKS -deststorepass secret -noprompt",
	} {
		run(t, dir, command)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	//lint:ignore SA1019 this is what old tools have written
	rfc1423, err := x509.EncryptPEMBlock(rand.Reader, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key), []byte("secret"), x509.PEMCipherAES128)
	if err != nil {
		t.Fatal(err)
	}
	write("rfc1423.pem", pem.EncodeToMemory(rfc1423))

	for _, tt := range []struct {
		file string
		why  purpose
		want string
	}{
		{"ca.jks", purposeCA, "is a Java keystore, not PEM"},
		{"me.jks", purposeCert, "is a Java keystore, not PEM"},
		{"me.jceks", purposeKey, "is a Java keystore, not PEM"},
		{"ca.p12", purposeCA, "is PKCS#12, not PEM"},
		{"me.p12", purposeCert, "is PKCS#12, not PEM"},
		{"me's ca.der", purposeCA, "is a certificate in DER, not PEM"},
		{"ca.p7b", purposeCA, "is PKCS#7, not PEM"},
		{"key.der", purposeKey, "is a private key in DER, not PEM"},
		{"encrypted.der", purposeKey, "is a private key in DER with a password, not PEM"},
		{"encrypted.pem", purposeKey, "holds a private key with a password"},
		{"old.pem", purposeKey, "holds a private key with a password"},
		{"rfc1423.pem", purposeKey, "holds a private key with a password"},
		{"p7.pem", purposeCA, "holds PKCS#7"},
	} {
		t.Run(tt.file, func(t *testing.T) {
			path := filepath.Join(dir, tt.file)
			_, err := readPEM(path, tt.why)
			check(t, err, tt.want)
			var file *Error
			if !errors.As(err, &file) {
				t.Fatalf("%v", err)
			}
			here := t.TempDir()
			_, commands, _ := strings.Cut(file.Text, "with ")
			if i := strings.LastIndex(commands, "with "); i > 0 {
				commands = commands[i+5:]
			}
			for _, command := range strings.Split(commands, " and then ") {
				run(t, here, command)
			}
			made := filepath.Join(here, "out.pem")
			if found, err := readPEM(made, tt.why); err != nil {
				t.Errorf("after %s: %v", commands, err)
			} else if tt.why == purposeCA && len(found.certs) == 0 || tt.why != purposeCA && found.key == nil {
				t.Errorf("%s has made a file with %d certificates", commands, len(found.certs))
			}
		})
	}
}

// run runs a command of a shell, with passwords on its standard input.
func run(t *testing.T, dir, command string) {
	t.Helper()
	tool, _, _ := strings.Cut(command, " ")
	if _, err := exec.LookPath(tool); err != nil {
		skiptest.Missing(t, "%v", err)
	}
	if tool == "openssl" && strings.Contains(command, " -in ") && !strings.Contains(command, " pass:") && !strings.Contains(command, "x509") && !strings.Contains(command, "pkcs7") {
		command += " -passin pass:secret" // openssl asks the terminal, not its standard input
	}
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(strings.Repeat("secret\n", 8))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}
