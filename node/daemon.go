package node

import (
	"context"
	"errors"
)

func run(context.Context, Config) error { return errors.New("not supported yet: node daemon") }
