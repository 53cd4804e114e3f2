package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// usageTemplate is the layout of every --help.
const usageTemplate = `Usage: {{useLine .}}
{{- if .HasAvailableLocalFlags}}

Options:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
{{- end}}
{{- if .HasAvailableSubCommands}}
{{- $cmds := .Commands}}
{{- if not .Groups}}

Commands:
{{- range $cmds}}{{if listed .}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
{{- end}}
{{- range $group := .Groups}}

{{$group.Title}}
{{- range $cmds}}{{if and (eq .GroupID $group.ID) (listed .)}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
{{- end}}
{{- end}}
`

// setUsage gives every command the same shape of help.
func setUsage(root *cobra.Command) {
	cobra.AddTemplateFunc("useLine", useLine)
	cobra.AddTemplateFunc("listed", func(c *cobra.Command) bool { return c.IsAvailableCommand() && c.Name() != "help" })
	root.SetUsageTemplate(usageTemplate)
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
