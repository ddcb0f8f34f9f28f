package main

import (
	"context"
	"fmt"

	"functiongraph-ingest/internal/fgsim"
)

// scenario is what the platform does: a thousand invocations at once, all the slips of the reference's samples,
// broken bodies.
const scenario = `
name: demo
ready: 20s
traffic: {concurrency: 1000, burst: 1.5}
platform: {invoke: both, slips: 0.05, broken: 0.02, resend: 5, resendAfter: 1s}
stop: {grace: 30s}
`

// play runs the package in the simulator, from its start to its end.
func play(ctx context.Context, o options, zip string, env []string, t *traffic) (*fgsim.Report, error) {
	s, err := fgsim.Parse([]byte(scenario), "traffic.duration="+o.duration.String(), fmt.Sprintf("traffic.rate=%d", o.rate),
		fmt.Sprintf("traffic.connections=%d", o.connections), fmt.Sprintf("seed=%d", o.seed))
	if err != nil {
		return nil, err
	}
	return fgsim.Run(ctx, fgsim.Options{Scenario: s, Package: zip, Env: env, Recorder: t})
}
