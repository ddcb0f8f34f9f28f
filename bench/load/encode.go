package load

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strconv"

	"github.com/klauspost/compress/zstd"
)

// request makes a whole request of a body.
func (p Profile) request(body []byte) (*Payload, error) {
	sent, encoding, err := p.encode(body)
	if err != nil {
		return nil, err
	}
	head := "POST " + p.Path + " HTTP/1.1\r\nHost: ingest\r\nContent-Type: application/json\r\n" + encoding +
		"Content-Length: " + strconv.Itoa(len(sent)) + "\r\n\r\n"
	out := &Payload{Request: append([]byte(head), sent...)}
	out.Body = out.Request[len(head):]
	if out.plain = out.Body; encoding != "" {
		out.plain = body
	}
	return out, nil
}

// encode returns the body as it is sent, and the header that says so.
func (p Profile) encode(body []byte) (sent []byte, header string, err error) {
	switch p.Encoding {
	case "":
		return body, "", nil
	case "gzip":
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(body) // to memory
		_ = w.Close()
		sent = b.Bytes()
	case "zstd":
		w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, "", err
		}
		sent = w.EncodeAll(body, nil)
		_ = w.Close()
	default:
		return nil, "", fmt.Errorf("unknown encoding %q; there are gzip and zstd", p.Encoding)
	}
	return sent, "Content-Encoding: " + p.Encoding + "\r\n", nil
}
