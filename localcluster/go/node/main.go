// One binary that is every program of a Kubernetes node, chosen by the name it is called by:
// linking them together takes one build instead of seven and a third of the disk.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
	_ "time/tzdata" // time zones of CronJobs, on hosts without a zone database

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"go.opentelemetry.io/otel/trace/noop"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // cloud logins in kubeconfig files, for kubectl
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	criclient "k8s.io/cri-client/pkg"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

var components = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kube-proxy":              proxy.NewProxyCommand,
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
}

func main() {
	name := filepath.Base(os.Args[0])
	switch name {
	case "etcd":
		etcdmain.Main(os.Args)
	case "cri-pull":
		os.Exit(pull(os.Args[1:]))
	case "kubectl":
		// As in Kubernetes' own cmd/kubectl: verbosity is wanted before the command is built.
		_, _ = logs.GlogSetter(kubectl.GetLogVerbosity(os.Args))
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
	default:
		newCommand, known := components[name]
		if !known {
			fmt.Fprintf(os.Stderr, "no program named %q in here: call it by the name of one, such as kubelet\n", name)
			os.Exit(2)
		}
		os.Exit(cli.Run(newCommand()))
	}
}

// pull asks the container runtime at an endpoint for images, by the very call that the kubelet makes.
func pull(arguments []string) int {
	if len(arguments) < 2 {
		fmt.Fprintln(os.Stderr, "usage: cri-pull ENDPOINT IMAGE...")
		return 2
	}
	images, err := criclient.NewRemoteImageService(arguments[0], 10*time.Second, noop.NewTracerProvider(), nil)
	for _, name := range arguments[1:] {
		if err == nil {
			_, err = images.PullImage(context.Background(), &cri.ImageSpec{Image: name}, nil, nil)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
