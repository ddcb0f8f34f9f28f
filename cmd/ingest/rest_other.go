//go:build !linux

package main

func dropText() {}
