package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/fleet"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// runLine holds words after "bulkrevoke" to being a command line of `run`, and
// returns its sheet and its flags.
func runLine(t *testing.T, words []string) (sheet string, flags *pflag.FlagSet) {
	t.Helper()
	if len(words) < 2 || words[0] != "run" {
		t.Fatalf("%q is no command line of run", words)
	}
	flags = pflag.NewFlagSet("run", pflag.ContinueOnError)
	opts := newOptions()
	opts.addRunFlags(flags)
	must(t, flags.Parse(words[1:]))
	must(t, opts.check())
	if flags.NArg() != 1 {
		t.Fatalf("%q names %d sheets", words, flags.NArg())
	}
	return flags.Arg(0), flags
}

// documents returns the documents of a YAML sample.
func documents(t *testing.T, name string) []any {
	t.Helper()
	dec := yaml.NewDecoder(bytes.NewReader(readSample(t, name)))
	var list []any
	for {
		var doc any
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return list
		}
		must(t, err)
		list = append(list, doc)
	}
}

// at returns what stands in a document at a path such as spec.containers.0.name,
// nil if nothing does.
func at(doc any, path string) any {
	for _, key := range strings.Split(path, ".") {
		switch node := doc.(type) {
		case map[string]any:
			doc = node[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(node) {
				return nil
			}
			doc = node[i]
		default:
			return nil
		}
	}
	return doc
}

// TestCronJob holds the Kubernetes sample to its promises.
func TestCronJob(t *testing.T) {
	t.Parallel()
	docs := documents(t, "cronjob.yaml")
	if len(docs) != 2 || at(docs[0], "kind") != "PersistentVolumeClaim" || at(docs[1], "kind") != "CronJob" {
		t.Fatalf("the sample is not a claim and a CronJob: %v", docs)
	}
	job := docs[1]
	const pod = "spec.jobTemplate.spec.template.spec."
	for path, want := range map[string]any{
		"apiVersion":                                                        "batch/v1",
		"spec.concurrencyPolicy":                                            "Forbid",
		"spec.timeZone":                                                     "Etc/UTC",
		pod + "restartPolicy":                                               "Never",
		pod + "automountServiceAccountToken":                                false,
		pod + "securityContext.runAsNonRoot":                                true,
		pod + "securityContext.runAsUser":                                   65532,
		pod + "securityContext.fsGroup":                                     65532,
		pod + "securityContext.seccompProfile":                              map[string]any{"type": "RuntimeDefault"},
		pod + "containers.1":                                                nil,
		pod + "containers.0.command":                                        nil, // the image's
		pod + "containers.0.securityContext":                                map[string]any{"readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false, "capabilities": map[string]any{"drop": []any{"ALL"}}},
		"spec.jobTemplate.spec.podFailurePolicy.rules.1.action":             "FailJob",
		"spec.jobTemplate.spec.podFailurePolicy.rules.1.onExitCodes.values": []any{exitOpen, exitRefused},
		"spec.jobTemplate.spec.podFailurePolicy.rules.1.onExitCodes.containerName": at(job, pod+"containers.0.name"),
	} {
		if diff := cmp.Diff(want, at(job, path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	if grace, _ := at(job, pod+"terminationGracePeriodSeconds").(int); grace < 30 {
		t.Errorf("calls under way get %d s to end, they may need 25", grace)
	}
	checkVolumes(t, at(job, pod+"containers.0"), at(docs[0], "metadata.name"), at(job, pod+"volumes"))
}

// checkVolumes makes sure that the container finds its sheet, and that what it
// writes is kept: on the claim, and what is temporary on an emptyDir.
func checkVolumes(t *testing.T, container, claim, volumes any) {
	t.Helper()
	kinds := map[any]string{}
	for _, v := range volumes.([]any) {
		switch {
		case at(v, "emptyDir") != nil:
			kinds[at(v, "name")] = "temporary"
		case at(v, "persistentVolumeClaim.claimName") == claim:
			kinds[at(v, "name")] = "kept"
		case at(v, "persistentVolumeClaim.readOnly") == true:
			kinds[at(v, "name")] = "read"
		}
	}
	mounts := map[string]string{}
	for _, m := range at(container, "volumeMounts").([]any) {
		kind := kinds[at(m, "name")]
		if kind == "" || (kind == "read") != (at(m, "readOnly") == true) {
			t.Errorf("the mount %v is of a volume that is %q", m, kind)
		}
		mounts[at(m, "mountPath").(string)] = kind
	}
	var words []string
	for _, word := range at(container, "args").([]any) {
		words = append(words, word.(string))
	}
	sheetPath, flags := runLine(t, words)
	want := map[string]string{sheetPath: "read", flags.Lookup("output").Value.String(): "kept"}
	env := map[string]any{}
	for _, e := range at(container, "env").([]any) {
		env[at(e, "name").(string)] = at(e, "value")
		if name := at(e, "name").(string); strings.HasPrefix(name, "LEADSQUARED_") && at(e, "valueFrom.secretKeyRef.name") == nil {
			t.Errorf("%s does not come from a secret", name)
		}
	}
	want[fmt.Sprint(env["BULKREVOKE_STATE"])] = "kept"
	want[fmt.Sprint(env["TMPDIR"])] = "temporary"
	for path, kind := range want {
		if top := "/" + strings.Split(path, "/")[1]; mounts[top] != kind {
			t.Errorf("%s lies on a volume that is %q, want %q", path, mounts[top], kind)
		}
	}
}

// TestAlertRules holds the rules to metrics and labels that a run or a worker writes, to the
// words of results and states, and to being tested: each fires, and each does not.
func TestAlertRules(t *testing.T) {
	t.Parallel()
	written := map[string]string{"bulkrevoke": metricsOfARun(t), "bulkrevoke-workers": metricsOfAWorker()}
	metric := regexp.MustCompile(`bulkrevoke_[a-z_]+`)
	label := regexp.MustCompile(`\$labels\.([a-z]+)`)
	words := regexp.MustCompile(`(result|state)=~?"([a-z_|]+)"`)
	groups, _ := at(documents(t, "alert-rule.yaml")[0], "groups").([]any)
	if len(groups) != len(written) {
		t.Errorf("there are %d groups of rules, want one of nights and one of workers", len(groups))
	}
	used, alerts := map[string]bool{}, map[string]bool{}
	for _, group := range groups {
		written := written[at(group, "name").(string)]
		for _, rule := range at(group, "rules").([]any) {
			name, _ := at(rule, "alert").(string)
			expr, _ := at(rule, "expr").(string)
			summary, _ := at(rule, "annotations.summary").(string)
			description, _ := at(rule, "annotations.description").(string)
			if name == "" || summary == "" || description == "" || at(rule, "labels.severity") == nil || alerts[name] {
				t.Errorf("rule %v lacks a name of its own, severity, summary or description", rule)
			}
			alerts[name] = true
			metrics := metric.FindAllString(expr, -1)
			if len(metrics) == 0 {
				t.Errorf("%s asks for no metric: %s", name, expr)
			}
			for _, m := range metrics {
				used[m] = true
				samples := regexp.MustCompile(`(?m)^`+m+`[{ ].*$`).FindAllString(written, -1)
				if len(samples) == 0 {
					t.Errorf("%s asks for %s, which nobody writes", name, m)
				}
				for _, l := range label.FindAllStringSubmatch(summary+description, -1) {
					for _, sample := range samples {
						if l[1] != "instance" && !strings.Contains(sample, l[1]+`="`) { // which Prometheus adds
							t.Errorf("%s speaks of the label %s, which %s lacks", name, l[1], sample)
						}
					}
				}
			}
			if found := words.FindStringSubmatch(expr); found != nil {
				for _, word := range strings.Split(found[2], "|") {
					if !strings.Contains(written, found[1]+`="`+word+`"`) {
						t.Errorf("%s asks for the %s %q, which there is not", name, found[1], word)
					}
				}
			}
		}
	}
	for _, m := range []string{
		"bulkrevoke_last_run_alarms", "bulkrevoke_last_success_timestamp_seconds", "bulkrevoke_last_run_timestamp_seconds", "bulkrevoke_last_run_rows",
		"bulkrevoke_database_up", "bulkrevoke_sheets", "bulkrevoke_sheet_alarms", "bulkrevoke_hosts", "bulkrevoke_worker_may_send",
	} {
		if !used[m] {
			t.Errorf("no rule asks for %s", m)
		}
	}
	fires, rests := map[string]bool{}, map[string]bool{}
	cases, _ := at(documents(t, "alert-rule.test.yaml")[0], "tests").([]any)
	for _, test := range cases {
		for _, check := range at(test, "alert_rule_test").([]any) {
			name := at(check, "alertname").(string)
			if !alerts[name] {
				t.Errorf("%s is tested, and there is no such alert", name)
			}
			if at(check, "exp_alerts") != nil {
				fires[name] = true
			} else {
				rests[name] = true
			}
		}
	}
	for name := range alerts {
		if !fires[name] || !rests[name] {
			t.Errorf("that %s fires is tested: %v, and that it does not: %v", name, fires[name], rests[name])
		}
	}
}

// TestWorkerMetrics compares what a worker tells of itself and of the queue with a file, which
// promtool reads too.
func TestWorkerMetrics(t *testing.T) {
	t.Parallel()
	path := filepath.Join("testdata", "worker.prom")
	got := regexp.MustCompile(`version="[^"]*"`).ReplaceAllString(metricsOfAWorker(), `version="1.4.0"`)
	if *update {
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if diff := cmp.Diff(strings.ReplaceAll(string(want), "\r", ""), got); diff != "" {
		t.Errorf("the metrics (-want +got):\n%s", diff)
	}
	if away := (queueMetrics{host: "h1"}).text(); !strings.Contains(away, "\nbulkrevoke_database_up 0\n") || strings.Contains(away, "bulkrevoke_hosts") {
		t.Errorf("without the database nothing is known of it:\n%s", away)
	}
}

// metricsOfAWorker returns what one of two workers tells.
func metricsOfAWorker() string {
	return queueMetrics{
		host: "h1", maySend: true, up: true,
		sheets: []fleet.Sheet{
			{State: fleet.Done, Counts: map[string]int64{"rows": 9, "done": 7, "failed": 2, fleet.KeptCount: 1}},
			{State: fleet.Stopped, Counts: map[string]int64{"rows": 3, "done": 1, "not_attempted": 2}},
			{State: fleet.Queued},
		},
		hosts: []fleet.HostInfo{{ID: "h0"}, {ID: "h1", Sheets: []string{"off"}, Silent: 1500 * time.Millisecond}},
	}.text()
}

// metricsOfARun returns the metrics file of a run that had an account end.
func metricsOfARun(t *testing.T) string {
	t.Helper()
	led, err := ledger.Scratch(t.TempDir())
	must(t, err)
	t.Cleanup(func() { must(t, led.Close()) })
	now := time.Now()
	s := batch.Summary{Started: now.Add(-time.Minute), Ended: now, Accounts: []batch.SummaryAccount{{
		Account: "main", CRM: crmLeadSquared, Ended: &crm.AccountError{Code: crm.EndKeys, Err: errors.New("refused")},
	}}}
	path := filepath.Join(t.TempDir(), "bulkrevoke.prom")
	must(t, report.WriteMetrics(t.Context(), led, s, report.Facts{Sheet: "offboarding.csv", ExitCode: exitStopped}, path))
	text, err := os.ReadFile(path)
	must(t, err)
	return string(text)
}
