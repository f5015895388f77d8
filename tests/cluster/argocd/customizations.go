package main

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A question about one object. Action is empty for its health and for the actions that are offered.
type question struct {
	Object    *unstructured.Unstructured           `json:"object"`
	Overrides map[string]v1alpha1.ResourceOverride `json:"overrides"`
	Action    string                               `json:"action"`
}

type answer struct {
	Health  any    `json:"health,omitempty"`
	Actions any    `json:"actions,omitempty"`
	Changed any    `json:"changed,omitempty"`
	Error   string `json:"error,omitempty"`
}

// newCustomizations is a command that runs resource customizations in Argo CD's own Lua VM, with the libraries that
// argocd-cm gets there: questions come as JSON on the standard input, an answer to each goes to the standard output.
func newCustomizations() *cobra.Command {
	return &cobra.Command{Use: "customizations", RunE: func(command *cobra.Command, _ []string) error {
		in, out := json.NewDecoder(command.InOrStdin()), json.NewEncoder(command.OutOrStdout())
		for {
			var asked question
			if err := in.Decode(&asked); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			found, err := asked.run()
			if err != nil {
				found = answer{Error: err.Error()}
			}
			if err := out.Encode(found); err != nil {
				return err
			}
		}
	}}
}

func (asked question) run() (answer, error) {
	vm := lua.VM{ResourceOverrides: asked.Overrides}
	if asked.Action != "" {
		action, err := vm.GetResourceAction(asked.Object, asked.Action)
		if err != nil {
			return answer{}, err
		}
		changed, err := vm.ExecuteResourceAction(asked.Object, action.ActionLua, nil)
		if err != nil {
			return answer{}, err
		}
		return answer{Changed: changed[0].UnstructuredObj}, nil
	}
	script, openLibs, err := vm.GetHealthScript(asked.Object)
	if err != nil {
		return answer{}, err
	}
	vm.UseOpenLibs = openLibs
	health, err := vm.ExecuteHealthLua(asked.Object, script)
	if err != nil {
		return answer{}, err
	}
	vm.UseOpenLibs = false
	scripts, err := vm.GetResourceActionDiscovery(asked.Object)
	if err != nil || len(scripts) == 0 {
		return answer{Health: health}, err
	}
	actions, err := vm.ExecuteResourceActionDiscovery(asked.Object, scripts)
	return answer{Health: health, Actions: actions}, err
}
