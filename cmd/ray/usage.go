package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

// setUsage gives every command the same shape of help. It is written out here,
// because a template would call methods by name, and the linker would then have
// to keep every method of every package.
func setUsage(root *cobra.Command) {
	root.SetUsageFunc(func(c *cobra.Command) error {
		_, err := io.WriteString(c.OutOrStderr(), usage(c))
		return err
	})
}

// usage is the part of a command's help below its description.
func usage(c *cobra.Command) string {
	var b strings.Builder
	b.WriteString("Usage: " + useLine(c))
	if c.HasAvailableLocalFlags() {
		b.WriteString("\n\nOptions:\n" + strings.TrimRightFunc(c.LocalFlags().FlagUsages(), unicode.IsSpace))
	}
	if c.HasAvailableSubCommands() {
		groups := c.Groups()
		if len(groups) == 0 {
			groups = []*cobra.Group{{Title: "Commands:"}}
		}
		for _, g := range groups {
			b.WriteString("\n\n" + g.Title)
			for _, sub := range c.Commands() {
				if sub.GroupID == g.ID && sub.IsAvailableCommand() && sub.Name() != "help" {
					fmt.Fprintf(&b, "\n  %-*s %s", sub.NamePadding(), sub.Name(), sub.Short)
				}
			}
		}
	}
	return b.String() + "\n"
}

// useLine says where options and verbs go, unless the command says it itself.
func useLine(c *cobra.Command) string {
	line := c.CommandPath()
	_, rest, _ := strings.Cut(c.Use, " ")
	if !strings.Contains(rest, "[OPTIONS]") {
		line += " [OPTIONS]"
	}
	if c.HasAvailableSubCommands() && rest == "" {
		rest = "COMMAND [ARGS]..."
	}
	return strings.TrimSpace(line + " " + rest)
}
