// Package check holds the manifests and the Terraform module against their schemas: Kubernetes by the types of its own
// API, strictly; Terraform by its grammar and by the arguments that the provider documents.
package check

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

func TestManifests(t *testing.T) {
	text, err := os.ReadFile("../kubernetes/ingest.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var set appsv1.StatefulSet
	var hpa autoscalingv2.HorizontalPodAutoscaler
	var pdb policyv1.PodDisruptionBudget
	var config corev1.ConfigMap
	services := map[string]corev1.Service{}
	for doc := range strings.SplitSeq(string(text), "\n---\n") {
		var head struct{ Kind string }
		if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
			t.Fatal(err)
		}
		var into any
		var service corev1.Service
		switch head.Kind {
		case "ConfigMap":
			into = &config
		case "Service":
			into = &service
		case "StatefulSet":
			into = &set
		case "PodDisruptionBudget":
			into = &pdb
		case "HorizontalPodAutoscaler":
			into = &hpa
		default:
			t.Fatalf("a manifest of kind %q: add it here", head.Kind)
		}
		// Strict: a field that Kubernetes does not have is an error, as is one that stands twice.
		if err := yaml.UnmarshalStrict([]byte(doc), into); err != nil {
			t.Errorf("%s: %v", head.Kind, err)
		}
		if head.Kind == "Service" {
			services[service.Name] = service
		}
	}
	labels := set.Spec.Template.Labels
	matches := func(what string, selector map[string]string) {
		for k, v := range selector {
			if labels[k] != v {
				t.Errorf("%s selects %s=%s, the pods have %q", what, k, v, labels[k])
			}
		}
		if len(selector) == 0 {
			t.Errorf("%s selects everything", what)
		}
	}
	matches("the StatefulSet", set.Spec.Selector.MatchLabels)
	matches("the PodDisruptionBudget", pdb.Spec.Selector.MatchLabels)
	container := set.Spec.Template.Spec.Containers[0]
	ports := map[string]int32{}
	for _, p := range container.Ports {
		ports[p.Name] = p.ContainerPort
	}
	for name, s := range services {
		matches("Service "+name, s.Spec.Selector)
		for _, p := range s.Spec.Ports {
			if ports[p.TargetPort.StrVal] == 0 {
				t.Errorf("Service %s: the pods have no port %v", name, p.TargetPort)
			}
		}
	}
	if s, ok := services[set.Spec.ServiceName]; !ok || s.Spec.ClusterIP != "None" {
		t.Errorf("the StatefulSet's service %q is not a headless one", set.Spec.ServiceName)
	}
	for name, probe := range map[string]*corev1.Probe{"startup": container.StartupProbe, "liveness": container.LivenessProbe, "readiness": container.ReadinessProbe} {
		if probe == nil || probe.HTTPGet == nil || ports[probe.HTTPGet.Port.StrVal] == 0 {
			t.Errorf("the %s probe has no port of the container", name)
		}
	}
	volumes := []string{}
	for _, v := range set.Spec.Template.Spec.Volumes {
		volumes = append(volumes, v.Name)
	}
	for _, v := range set.Spec.VolumeClaimTemplates {
		volumes = append(volumes, v.Name)
	}
	for _, m := range container.VolumeMounts {
		if !slices.Contains(volumes, m.Name) {
			t.Errorf("no volume %s", m.Name)
		}
	}
	if hpa.Spec.ScaleTargetRef.Name != set.Name || hpa.Spec.ScaleTargetRef.Kind != "StatefulSet" {
		t.Errorf("the autoscaler scales %+v", hpa.Spec.ScaleTargetRef)
	}
	// preStop and --shutdown-timeout fit into what the kubelet waits.
	if *set.Spec.Template.Spec.TerminationGracePeriodSeconds < container.Lifecycle.PreStop.Sleep.Seconds+20+5 ||
		!strings.Contains(config.Data["ingest.yaml"], "shutdown-timeout: 20s") {
		t.Error("the pod is killed before it has stopped")
	}
}

// arguments are those that the provider's documentation has for the resources that are used (docs/resources of
// huaweicloud/terraform-provider-huaweicloud, read on 2026-11-27). false: an argument that must be given.
var arguments = map[string]map[string]bool{
	"huaweicloud_obs_bucket": optional("region tags acl policy policy_format storage_class versioning logging quota lifecycle_rule website cors_rule "+
		"force_destroy multi_az enterprise_project_id encryption kms_key_id parallel_fs user_domain_names", "bucket"),
	"huaweicloud_obs_bucket_object":      optional("region source content acl storage_class content_type encryption kms_key_id etag tags metadata", "bucket key"),
	"huaweicloud_fgs_dependency_version": optional("region description", "runtime name link"),
	"huaweicloud_fgs_function": optional("region description functiongraph_version func_code code_url code_filename depend_list user_data "+
		"encrypted_user_data agency app_agency initializer_handler initializer_timeout enterprise_project_id vpc_id network_id dns_list "+
		"mount_user_id mount_user_group_id func_mounts custom_image max_instance_num versions tags log_group_id log_group_name log_stream_id "+
		"log_stream_name reserved_instances concurrency_num gpu_type gpu_memory", "name memory_size runtime timeout app code_type handler"),
}

func optional(may, must string) map[string]bool {
	all := map[string]bool{}
	for name := range strings.FieldsSeq(may) {
		all[name] = true
	}
	for name := range strings.FieldsSeq(must) {
		all[name] = false
	}
	return all
}

func TestTerraform(t *testing.T) {
	resources, variables, outputs := 0, map[string]bool{}, map[string]bool{}
	used := map[string]bool{}
	var module *hclsyntax.Block
	for _, dir := range []string{"../terraform", "../terraform/example"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.tf"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v %v", dir, files, err)
		}
		for _, file := range files {
			parsed, diags := hclparse.NewParser().ParseHCLFile(file)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			body := parsed.Body.(*hclsyntax.Body)
			for _, v := range references(body) {
				used[v] = true
			}
			for _, b := range body.Blocks {
				switch b.Type {
				case "resource":
					resources++
					checkResource(t, b)
				case "module":
					module = b
				case "variable":
					if dir == "../terraform" {
						_, hasDefault := b.Body.Attributes["default"]
						variables[b.Labels[0]] = !hasDefault
					}
				case "output":
					outputs["module.ingest."+b.Labels[0]] = true
				case "terraform", "locals":
				default:
					t.Errorf("%s: a block of type %s", file, b.Type)
				}
			}
		}
	}
	if resources != 4 || module == nil {
		t.Errorf("%d resources, module %v", resources, module != nil)
	}
	for name := range module.Body.Attributes {
		if _, ok := variables[name]; !ok && name != "source" {
			t.Errorf("the example gives the module %s, which is no variable of it", name)
		}
	}
	for name, must := range variables {
		if _, ok := module.Body.Attributes[name]; must && !ok {
			t.Errorf("the example does not give the module %s", name)
		}
		if !used["var."+name] {
			t.Errorf("variable %s is not used", name)
		}
	}
	for name := range used {
		if strings.HasPrefix(name, "module.") && !outputs[name] {
			t.Errorf("%s is no output", name)
		}
	}
}

func checkResource(t *testing.T, b *hclsyntax.Block) {
	known, ok := arguments[b.Labels[0]]
	if !ok {
		t.Errorf("no arguments of %s are noted here", b.Labels[0])
	}
	for name := range b.Body.Attributes {
		if _, ok := known[name]; !ok {
			t.Errorf("%s has no argument %s", b.Labels[0], name)
		}
	}
	for _, inner := range b.Body.Blocks {
		if _, ok := known[inner.Type]; !ok && inner.Type != "lifecycle" {
			t.Errorf("%s has no block %s", b.Labels[0], inner.Type)
		}
	}
	for name, may := range known {
		if _, ok := b.Body.Attributes[name]; !may && !ok {
			t.Errorf("%s needs %s", b.Labels[0], name)
		}
	}
}

// references are the variables and module outputs that a body uses.
func references(body *hclsyntax.Body) (out []string) {
	_ = hclsyntax.VisitAll(body, func(n hclsyntax.Node) hcl.Diagnostics {
		e, ok := n.(*hclsyntax.ScopeTraversalExpr)
		if !ok {
			return nil
		}
		var parts []string
		for _, step := range e.Traversal {
			switch s := step.(type) {
			case hcl.TraverseRoot:
				parts = append(parts, s.Name)
			case hcl.TraverseAttr:
				parts = append(parts, s.Name)
			}
		}
		switch {
		case parts[0] == "var" && len(parts) > 1:
			out = append(out, "var."+parts[1])
		case parts[0] == "module" && len(parts) > 2:
			out = append(out, strings.Join(parts[:3], "."))
		}
		return nil
	})
	return out
}
