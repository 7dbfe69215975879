//go:build !race

package session

const processors = 0 // as many as there are
