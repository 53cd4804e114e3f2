// Package archtest holds the rules of the source tree as tests: who may import
// whom, that packages explain themselves, and how long files and functions may
// be. Nothing imports it.
package archtest
