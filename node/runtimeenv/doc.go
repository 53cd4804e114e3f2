// Package runtimeenv makes, on one node, the environment that a job, task or
// actor asks for: variables, working directory, module paths, and Python
// environments made with pip, uv or conda. Whatever takes disk space is made
// once for each content, shared by all who ask, counted by use and removed
// when the cache passes its bound. The node daemon alone imports it.
package runtimeenv
