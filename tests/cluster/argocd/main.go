// Command argocd runs the part of Argo CD named by its first argument, or by the name it is started under; `customizations`
// is its Lua VM alone.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	reposerver "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
	server "github.com/argoproj/argo-cd/v3/cmd/argocd-server/commands"
	"github.com/spf13/cobra"
)

func main() {
	name := filepath.Base(os.Args[0])
	if name == "argocd" && len(os.Args) > 1 {
		name, os.Args = os.Args[1], os.Args[1:]
	}
	commands := map[string]func() *cobra.Command{
		"argocd-application-controller": controller.NewCommand,
		"argocd-repo-server":            reposerver.NewCommand,
		"argocd-server":                 server.NewCommand,
		"customizations":                newCustomizations,
	}
	command, known := commands[name]
	if !known {
		fmt.Fprintln(os.Stderr, "usage: argocd PART [flags]")
		os.Exit(2)
	}
	if err := command().Execute(); err != nil {
		os.Exit(1)
	}
}
