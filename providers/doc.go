// Package providers says what a provider of machines is: it makes instances of
// node types, lists and ends them, and hands out connections to them. The
// provider's own list is the truth about what exists; everything else that the
// launcher and the autoscaler keep is a hint.
//
// The implementations are packages below this one; package all chooses one by
// a cluster's provider section, and package providertest is the suite that
// each of them passes. The launcher, bootstrap, the autoscaler and the head
// import it.
package providers
