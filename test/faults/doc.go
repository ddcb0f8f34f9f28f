// Package faults holds the fault suite: a table of faults, each tried with every way of answering, with
// the built binary as a process, a real Apache Kafka, and an oracle that judges what kcat reads.
//
// A short form runs with every test run. -all runs the whole table, -write puts its figures into
// docs/guarantees.md and bench/results/faults.json.
package faults
