// Command nullpipe is the floor that the pipeline is compared with: it reads bodies with the HTTP library of
// ingest, copies each once into a batch, takes a CRC-32C of every batch, and writes it to a TCP address.
// It parses nothing, and answers when the body is in the batch. It has as many processors as its load needs, as ingest has.
package main

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"functiongraph-ingest/internal/procs"
)

const (
	batchBytes = 256 << 10
	maxBody    = 4 << 20
	linger     = time.Millisecond
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to take bodies at")
	to := flag.String("to", "", "address to write to")
	flag.Parse()
	if err := run(*listen, *to); err != nil {
		fmt.Fprintln(os.Stderr, "nullpipe:", err)
		os.Exit(1)
	}
}

func run(listen, to string) error {
	c, err := net.Dial("tcp", to)
	if err != nil {
		return err
	}
	p := &pipe{out: c, failed: make(chan error, 1), procs: procs.New(runtime.GOMAXPROCS(0))}
	go p.procs.Run(context.Background())
	p.room.L = &p.mu
	go p.write()
	s := &fasthttp.Server{Handler: p.handle, MaxRequestBodySize: maxBody, NoDefaultServerHeader: true}
	go func() { p.failed <- s.ListenAndServe(listen) }()
	return <-p.failed
}

// pipe has one open batch, and one that is being written.
type pipe struct {
	mu     sync.Mutex
	room   sync.Cond
	open   []byte
	out    net.Conn
	failed chan error
	procs  *procs.Governor
}

func (p *pipe) handle(ctx *fasthttp.RequestCtx) {
	p.procs.Stir()
	body := ctx.Request.Body()
	p.mu.Lock()
	for len(p.open) > 0 && len(p.open)+len(body) > batchBytes {
		p.room.Wait()
	}
	p.open = append(p.open, body...)
	p.mu.Unlock()
}

// write takes what has come once in linger, or at once what has come while it wrote.
func (p *pipe) write() {
	var batch []byte
	head := make([]byte, 8)
	ticker := time.NewTicker(linger)
	defer ticker.Stop()
	for {
		p.mu.Lock()
		batch, p.open = p.open, batch[:0]
		p.room.Broadcast()
		p.mu.Unlock()
		if len(batch) == 0 {
			<-ticker.C
			continue
		}
		binary.BigEndian.PutUint32(head, uint32(len(batch)))
		binary.BigEndian.PutUint32(head[4:], crc32.Checksum(batch, crc32.MakeTable(crc32.Castagnoli)))
		buffers := net.Buffers{head, batch}
		if _, err := buffers.WriteTo(p.out); err != nil {
			p.failed <- err
			return
		}
	}
}
