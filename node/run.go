package node

import "context"

// Run is the daemon: it serves until ctx ends, the head tells it to shut down
// or its owner goes, and returns after every process that it started is gone.
func Run(ctx context.Context, c Config) error {
	if err := c.check(); err != nil {
		return err
	}
	return run(ctx, c)
}
