// Command flux is what Flux's kustomize-controller does with objects once it has read them, by the libraries and the
// versions that it is made of. `flux kstatus` judges objects; `flux apply` brings them to a cluster as a Kustomization
// with `wait: true` does, and waits.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/ssa"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

const (
	manager = "kustomize-controller"
	group   = "kustomize.toolkit.fluxcd.io"
)

func main() {
	commands := map[string]func([]string) error{"kstatus": kstatus, "apply": apply}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: flux kstatus | apply [flags]")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// kstatus reads objects as JSON from the standard input, and answers each on a line.
func kstatus([]string) error {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var obj unstructured.Unstructured
		if err := in.Decode(&obj); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		found, err := status.Compute(&obj)
		if err != nil {
			return err
		}
		if err := out.Encode(map[string]string{"status": found.Status.String(), "message": found.Message}); err != nil {
			return err
		}
	}
}

// apply does what the reconciler of a Kustomization does after its build, in its order: it applies the objects (JSON,
// one after the other, on the standard input) and waits until all are Current, or one is Failed. The error is what the
// Kustomization's condition Ready would say.
func apply(words []string) error {
	flags := flag.NewFlagSet("apply", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "of the cluster")
	name := flags.String("name", "", "of the Kustomization")
	namespace := flags.String("namespace", "flux-system", "of the Kustomization")
	timeout := flags.Duration("timeout", time.Minute, "how long to wait")
	interval := flags.Duration("interval", 5*time.Second, "how often to look; Flux: 5s")
	if err := flags.Parse(words); err != nil {
		return err
	}
	objects, err := read(os.Stdin)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	resources, err := newManager(config)
	if err != nil {
		return err
	}
	resources.SetOwnerLabels(objects, *name, *namespace)
	changes, err := resources.ApplyAllStaged(context.Background(), objects, ssa.DefaultApplyOptions())
	if err != nil {
		return err
	}
	for _, entry := range changes.Entries {
		fmt.Println(entry.Subject, entry.Action)
	}
	return resources.WaitForSet(changes.ToObjMetadataSet(), ssa.WaitOptions{
		Interval: *interval, Timeout: *timeout, FailFast: true,
	})
}

func newManager(config *rest.Config) (*ssa.ResourceManager, error) {
	web, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	mapper, err := apiutil.NewDynamicRESTMapper(config, web)
	if err != nil {
		return nil, err
	}
	kube, err := client.New(config, client.Options{HTTPClient: web, Mapper: mapper})
	if err != nil {
		return nil, err
	}
	poller := polling.NewStatusPoller(kube, mapper, polling.Options{})
	return ssa.NewResourceManager(kube, poller, ssa.Owner{Field: manager, Group: group}), nil
}

func read(from io.Reader) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	in := json.NewDecoder(from)
	for {
		var obj unstructured.Unstructured
		if err := in.Decode(&obj); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, err
		}
		objects = append(objects, &obj)
	}
}
