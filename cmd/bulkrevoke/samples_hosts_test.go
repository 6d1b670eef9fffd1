package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// hardened is the security of every container among the samples.
var hardened = map[string]any{"readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false, "capabilities": map[string]any{"drop": []any{"ALL"}}}

// replacedSoon lets a pod go after 10 s from a node that cannot be reached.
var replacedSoon = []any{
	map[string]any{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 10},
	map[string]any{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 10},
}

// standsIn compares what stands in a document with what is wanted, by paths.
func standsIn(t *testing.T, doc any, want map[string]any) {
	t.Helper()
	for path, want := range want {
		if diff := cmp.Diff(want, at(doc, path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

// flagOf returns the value of a flag among words, "" without it.
func flagOf(words []string, name string) string {
	for i, word := range words {
		if value, ok := strings.CutPrefix(word, "--"+name+"="); ok {
			return value
		}
		if word == "--"+name && i+1 < len(words) {
			return words[i+1]
		}
	}
	return ""
}

// isCommandLine holds words after "bulkrevoke" to being a command line of the program: there
// is the command, and its flags take these values.
func isCommandLine(t *testing.T, words []string) {
	t.Helper()
	t.Run("command line", func(t *testing.T) {
		t.Parallel()
		root := newApp(words, strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}).rootCommand()
		cmd, args, err := root.Find(words)
		if err != nil || cmd == root {
			t.Fatalf("this program has no command %s", words[0])
		}
		must(t, cmd.ParseFlags(args))
		if cmd.Args != nil {
			must(t, cmd.Args(cmd, cmd.Flags().Args()))
		}
	})
}

// checkPod holds a pod to what every pod of the samples has: its security, its secrets, and
// folders for all that it writes, which go with it. It returns the words after "bulkrevoke".
func checkPod(t *testing.T, pod any) (words []string) {
	t.Helper()
	standsIn(t, pod, map[string]any{
		"automountServiceAccountToken":   false,
		"securityContext.runAsNonRoot":   true,
		"securityContext.runAsUser":      65532,
		"securityContext.fsGroup":        65532,
		"securityContext.seccompProfile": map[string]any{"type": "RuntimeDefault"},
		"tolerations":                    replacedSoon,
		"containers.1":                   nil,
		"containers.0.command":           nil, // the image's
		"containers.0.securityContext":   hardened,
	})
	env := map[string]any{}
	for _, e := range at(pod, "containers.0.env").([]any) {
		name := at(e, "name").(string)
		env[name] = at(e, "value")
		if (strings.HasPrefix(name, "LEADSQUARED_") || name == "BULKREVOKE_DATABASE") && at(e, "valueFrom.secretKeyRef.name") != "bulkrevoke" {
			t.Errorf("%s does not come from the secret", name)
		}
	}
	kinds := map[any]string{}
	for _, v := range at(pod, "volumes").([]any) {
		switch {
		case at(v, "emptyDir") != nil:
			kinds[at(v, "name")] = "temporary"
		case at(v, "persistentVolumeClaim.readOnly") == true:
			kinds[at(v, "name")] = "read"
		default:
			t.Errorf("the volume %v is one that a pod on another node can not have", v)
		}
	}
	mounts := map[string]string{}
	for _, m := range at(pod, "containers.0.volumeMounts").([]any) {
		kind := kinds[at(m, "name")]
		if kind == "" || (kind == "read") != (at(m, "readOnly") == true) {
			t.Errorf("the mount %v is of a volume that is %q", m, kind)
		}
		mounts[at(m, "mountPath").(string)] = kind
	}
	for _, word := range at(pod, "containers.0.args").([]any) {
		words = append(words, word.(string))
	}
	want := map[string]string{fmt.Sprint(env["BULKREVOKE_STATE"]): "temporary", fmt.Sprint(env["TMPDIR"]): "temporary"}
	if out := flagOf(words, "output"); out != "" {
		want[out] = "temporary"
	}
	if strings.HasPrefix(words[1], "/") {
		want[words[1]] = "read"
	}
	for path, kind := range want {
		if top := "/" + strings.Split(strings.TrimPrefix(path, "/"), "/")[0]; mounts[top] != kind {
			t.Errorf("%s lies on a volume that is %q, want %q", path, mounts[top], kind)
		}
	}
	if got := flagOf(words, "database"); got != "env:BULKREVOKE_DATABASE" {
		t.Errorf("the database is %q", got)
	}
	if _, there := env["BULKREVOKE_DATABASE"]; !there {
		t.Error("BULKREVOKE_DATABASE is not set")
	}
	return words
}

// TestKubernetesWorkers holds the workers' sample to its promises.
func TestKubernetesWorkers(t *testing.T) {
	t.Parallel()
	docs := documents(t, "kubernetes-workers.yaml")
	if len(docs) != 2 || at(docs[0], "kind") != "Deployment" || at(docs[1], "kind") != "PodDisruptionBudget" {
		t.Fatalf("the sample is not a Deployment and its budget: %v", docs)
	}
	labels := map[string]any{"app": "bulkrevoke-worker"}
	pod := at(docs[0], "spec.template.spec")
	standsIn(t, docs[0], map[string]any{
		"apiVersion":                    "apps/v1",
		"spec.replicas":                 3,
		"spec.selector.matchLabels":     labels,
		"spec.template.metadata.labels": labels,
	})
	standsIn(t, docs[1], map[string]any{
		"apiVersion":                "policy/v1",
		"spec.maxUnavailable":       1,
		"spec.selector.matchLabels": labels,
	})
	standsIn(t, pod, map[string]any{
		"restartPolicy":                                         nil, // Always, all that a Deployment takes
		"terminationGracePeriodSeconds":                         90,
		"topologySpreadConstraints.0.topologyKey":               "kubernetes.io/hostname",
		"topologySpreadConstraints.0.labelSelector.matchLabels": labels,
		"containers.0.ports.0":                                  map[string]any{"name": "health", "containerPort": 9464},
		"containers.0.livenessProbe.httpGet":                    map[string]any{"path": "/healthz", "port": "health"},
		"containers.0.readinessProbe.httpGet":                   map[string]any{"path": "/readyz", "port": "health"},
	})
	words := checkPod(t, pod)
	if words[0] != "worker" || flagOf(words, "listen") != "0.0.0.0:9464" {
		t.Errorf("the pod runs %q", words)
	}
	leavesTime(t, words, time.Duration(at(pod, "terminationGracePeriodSeconds").(int))*time.Second)
	isCommandLine(t, words)
}

// leavesTime makes sure that a worker which is told to stop gets as long as it takes: its
// drain, and 25 s for what is under way then.
func leavesTime(t *testing.T, words []string, grace time.Duration) {
	t.Helper()
	drain, err := time.ParseDuration(flagOf(words, "drain"))
	must(t, err)
	if drain+25*time.Second > grace {
		t.Errorf("a worker drains for %v and is killed after %v", drain, grace)
	}
}

// TestKubernetesSubmit holds the sample of a nightly submit to its promises.
func TestKubernetesSubmit(t *testing.T) {
	t.Parallel()
	docs := documents(t, "kubernetes-submit.yaml")
	if len(docs) != 1 || at(docs[0], "kind") != "CronJob" {
		t.Fatalf("the sample is not a CronJob: %v", docs)
	}
	pod := at(docs[0], "spec.jobTemplate.spec.template.spec")
	standsIn(t, docs[0], map[string]any{
		"apiVersion":                             "batch/v1",
		"spec.concurrencyPolicy":                 "Forbid",
		"spec.timeZone":                          "Etc/UTC",
		"spec.jobTemplate.spec.podFailurePolicy": nil,
	})
	standsIn(t, pod, map[string]any{"restartPolicy": "Never"})
	words := checkPod(t, pod)
	if words[0] != "submit" || !slices.Contains(words, "--wait") || flagOf(words, "ledger") == "" {
		t.Errorf("the pod runs %q; it is to submit, wait, and name the ledger", words)
	}
	isCommandLine(t, words)
}

// unitFile returns the settings of a systemd unit among the samples, by section and name.
func unitFile(t *testing.T, name string) map[string][]string {
	t.Helper()
	section, settings := "", map[string][]string{}
	text := strings.ReplaceAll(string(readSample(t, name)), "\\\n", " ") // lines that go on
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			section = strings.Trim(line, "[]")
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || section == "" {
			t.Fatalf("no setting: %s", line)
		}
		settings[section+"."+name] = append(settings[section+"."+name], value)
	}
	return settings
}

// isSet compares settings of a unit, each of which stands there once, with what is wanted.
func isSet(t *testing.T, settings map[string][]string, want map[string]string) {
	t.Helper()
	for name, want := range want {
		if got := settings[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// TestWorkerUnit holds the systemd unit to its promises.
func TestWorkerUnit(t *testing.T) {
	t.Parallel()
	settings := unitFile(t, "bulkrevoke-worker.service")
	isSet(t, settings, map[string]string{
		"Service.KillSignal":               "SIGTERM",
		"Service.TimeoutStopSec":           "90",
		"Service.Restart":                  "on-failure",
		"Service.RestartPreventExitStatus": fmt.Sprint(exitRefused),
		"Service.SuccessExitStatus":        fmt.Sprint(exitTerminated),
		"Service.StateDirectory":           "bulkrevoke",
		"Service.DynamicUser":              "yes",
		"Service.NoNewPrivileges":          "yes",
		"Service.ProtectSystem":            "strict",
		"Service.CapabilityBoundingSet":    "",
		"Install.WantedBy":                 "multi-user.target",
	})
	if env := strings.Join(settings["Service.Environment"], " "); !strings.Contains(env, "BULKREVOKE_STATE=%S/"+settings["Service.StateDirectory"][0]) || strings.Contains(env, "KEY=") {
		t.Errorf("the environment is %q; state lies in the state folder, and no secret stands there", env)
	}
	words := strings.Fields(settings["Service.ExecStart"][0])[1:]
	credential, ok := strings.CutPrefix(flagOf(words, "database"), "file:%d/")
	if !ok || !slices.ContainsFunc(settings["Service.LoadCredential"], func(c string) bool { return strings.HasPrefix(c, credential+":") }) {
		t.Errorf("the database is %q, which is none of the credentials %q", flagOf(words, "database"), settings["Service.LoadCredential"])
	}
	leavesTime(t, words, 90*time.Second)
	isCommandLine(t, words)
}

// TestCronJobSaysWhatANodeThatIsGoneMeans keeps the warning beside the policy that it is about.
func TestCronJobSaysWhatANodeThatIsGoneMeans(t *testing.T) {
	t.Parallel()
	before, _, found := strings.Cut(string(readSample(t, "cronjob.yaml")), "podFailurePolicy:")
	if !found || !strings.Contains(before, "kubectl taint nodes NODE node.kubernetes.io/out-of-service=nodeshutdown:NoExecute") {
		t.Error("the sample has a podFailurePolicy and does not say how to let go of a node that is gone")
	}
}
