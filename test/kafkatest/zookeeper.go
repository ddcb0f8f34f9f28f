package kafkatest

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"functiongraph-ingest/test/internal/child"
)

// zooKeeper is where brokers before KRaft keep the state of their cluster.
type zooKeeper struct{ *child.Child }

// startZooKeeper runs the ZooKeeper whose jar came with the broker's.
func startZooKeeper(addr, java, jars, dir string) (*zooKeeper, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "zoo.cfg")
	text := fmt.Sprintf("dataDir=%s\nclientPortAddress=%s\nclientPort=%s\nmaxClientCnxns=0\nadmin.enableServer=false\n", dir, host, port)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, err
	}
	out, err := os.Create(filepath.Join(dir, "zookeeper.log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // the child has its own copy
	cmd := exec.Command(java, "-Xmx128m", "-Djava.awt.headless=true", "-cp", filepath.Join(jars, "*"),
		"org.apache.zookeeper.server.ZooKeeperServerMain", config)
	cmd.Stdout, cmd.Stderr = out, out
	c, err := child.Start(cmd)
	return &zooKeeper{c}, err
}

// withZooKeeper turns the configuration of a broker of today into one of the time before KRaft.
func withZooKeeper(props map[string]string, id int, addr string) {
	maps.DeleteFunc(props, func(key, _ string) bool {
		return key == "node.id" || strings.HasPrefix(key, "process.") || strings.HasPrefix(key, "controller.")
	})
	var listeners []string
	for _, l := range strings.Split(props["listeners"], ",") {
		if !strings.HasPrefix(l, listenerController+":") {
			listeners = append(listeners, l)
		}
	}
	props["listeners"] = strings.Join(listeners, ",")
	props["broker.id"] = fmt.Sprint(id)
	props["zookeeper.connect"] = addr
	props["zookeeper.connection.timeout.ms"] = "60000" // it starts at the same time, on a busy machine
	props["zookeeper.session.timeout.ms"] = "30000"
}
