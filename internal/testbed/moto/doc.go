// Package moto runs PyPI's moto as EC2 and IAM, and puts in front of it what
// it lacks: errors on demand, lost answers, lists that lag behind, and a log of
// the calls. Only the test bed and tests may import it.
package moto
