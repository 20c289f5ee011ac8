{{/* The name of everything in the release's own namespace. */}}
{{- define "failover.name" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of what is in other namespaces or in none, where two releases of one name would meet. */}}
{{- define "failover.outerName" -}}
{{- printf "%s-%s" .Release.Namespace (include "failover.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "failover.serviceAccount" -}}
{{- default (include "failover.name" .) .Values.serviceAccount.name -}}
{{- end -}}

{{/* What every pod of the release has and no other, the test's included. Never to be changed: a Deployment cannot. */}}
{{- define "failover.instance" -}}
app.kubernetes.io/name: failover
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The same for the watcher alone. */}}
{{- define "failover.selector" -}}
{{ include "failover.instance" . }}
app.kubernetes.io/component: watcher
{{- end -}}

{{- define "failover.labels" -}}
{{ include "failover.instance" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "failover.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end -}}
{{- end -}}

{{/* "true" when the embedded ledger needs a volume. */}}
{{- define "failover.embedded" -}}
{{- if not .Values.config.ledger }}true{{ end -}}
{{- end -}}

{{/* The directory that holds the ledger, where no storage class makes volumes; an empty object without one. */}}
{{- define "failover.directory" -}}
{{- with .Values.persistence -}}
{{- if .local -}}
{{- dict "kind" "local" "source" (dict "path" .local.path) "node" .local.node | toJson -}}
{{- else if .hostPath -}}
{{- dict "kind" "hostPath" "source" (dict "path" .hostPath.path "type" "Directory") "node" .hostPath.node | toJson -}}
{{- else -}}
{}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* failover.yaml: what the chart knows better than the values is added here and nowhere else. */}}
{{- define "failover.configuration" -}}
{{- $config := deepCopy .Values.config -}}
{{- $_ := set $config "http" (merge (dict "listen" "0.0.0.0:8080") ($config.http | default dict)) -}}
{{- if include "failover.embedded" . -}}
{{- $_ := set $config "ledger" (dict "sqlite" (dict "path" "/var/lib/failover/ledger.sqlite")) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* How the port is spoken to. */}}
{{- define "failover.scheme" -}}
{{- if (.Values.config.http | default dict).tls }}https{{ else }}http{{ end -}}
{{- end -}}

{{/* The namespaces of the watched workloads as a JSON list, each once; empty when Kubernetes is not watched. */}}
{{- define "failover.namespaces" -}}
{{- $namespaces := list -}}
{{- range .Values.config.validators -}}
{{- with .kubernetes }}{{ $namespaces = append $namespaces .namespace }}{{ end -}}
{{- end -}}
{{- $namespaces | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* The kinds of workload that are named in a namespace, as a JSON list. */}}
{{- define "failover.workloads" -}}
{{- $kinds := list -}}
{{- range .validators -}}
{{- with .kubernetes }}{{- if eq .namespace $.namespace -}}
{{- if .statefulset }}{{ $kinds = append $kinds "statefulsets" }}{{ end -}}
{{- if .deployment }}{{ $kinds = append $kinds "deployments" }}{{ end -}}
{{- end }}{{ end -}}
{{- end -}}
{{- $kinds | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* What no schema can say, because it is about two places. */}}
{{- define "failover.check" -}}
{{- $provided := list -}}
{{- range $name, $_ := .Values.secrets }}{{ $provided = append $provided (printf "/etc/failover/secrets/%s" $name) }}{{ end -}}
{{- if .Values.workloadIdentity.audience }}{{ $provided = append $provided "/etc/failover/google.json" }}{{ end -}}
{{- range regexFindAll "(_file|kubeconfig): *[^ \n]+" (toYaml .Values.config) -1 -}}
{{- $file := regexReplaceAll "[a-z_]+: *[\"']?([^\"']+)[\"']?" . "${1}" -}}
{{- $path := hasPrefix "/" $file | ternary $file (printf "/etc/failover/%s" $file) -}}
{{- if not (has $path $provided) -}}
{{- fail (printf "\n\nconfig names the file %s, which is not there in the pod. There would be: %s.\nAdd it to `secrets`, or correct the path." $file (join ", " $provided | default "none")) -}}
{{- end -}}
{{- end -}}
{{- $places := list -}}
{{- range $key := list "storageClass" "existingClaim" "local" "hostPath" -}}
{{- if index $.Values.persistence $key }}{{ $places = append $places (printf "persistence.%s" $key) }}{{ end -}}
{{- end -}}
{{- if gt (len $places) 1 -}}
{{- fail (printf "\n\nthe ledger is in one place, and there are %s: keep one of them." (join " and " $places)) -}}
{{- end -}}
{{- if and .Values.awayFrom .Values.affinity.podAntiAffinity -}}
{{- fail "\n\nawayFrom is written into affinity.podAntiAffinity: keep one of them." -}}
{{- end -}}
{{- if and (gt (int .Values.replicas) 1) (include "failover.embedded" .) -}}
{{- fail "\n\nreplicas is more than 1, and the embedded ledger is one file on one volume: set config.ledger.gcs." -}}
{{- end -}}
{{- end -}}

{{/* What the watcher and the test run under: no user, no root, no capability, nothing to write to but the ledger. */}}
{{- define "failover.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .Values.runAsUser }}
runAsGroup: {{ .Values.runAsUser }}
fsGroup: {{ .Values.runAsUser }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "failover.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "failover.mounts" -}}
- {name: configuration, mountPath: /etc/failover, readOnly: true}
{{- if include "failover.embedded" . }}
- {name: ledger, mountPath: /var/lib/failover}
{{- end }}
{{- end -}}

{{/* One volume for configuration and secrets, because a mount inside of a read-only mount has to be there before it. */}}
{{- define "failover.volumes" -}}
- name: configuration
  projected:
    defaultMode: 0440
    sources:
      - configMap:
          name: {{ include "failover.name" . }}
      {{- range $file, $from := .Values.secrets }}
      - secret:
          name: {{ $from.name }}
          items: [{key: {{ $from.key | quote }}, path: {{ printf "secrets/%s" $file | quote }}}]
      {{- end }}
      {{- with .Values.workloadIdentity.audience }}
      - serviceAccountToken: {audience: {{ . | quote }}, expirationSeconds: 3600, path: google-token}
      {{- end }}
{{- if include "failover.embedded" . }}
- name: ledger
  persistentVolumeClaim:
    claimName: {{ default (include "failover.name" .) .Values.persistence.existingClaim }}
{{- end }}
{{- end -}}
