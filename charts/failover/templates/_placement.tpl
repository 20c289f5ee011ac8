{{/* Which node: not the validator's own, because what dies with it can notify nobody. */}}
{{- define "failover.placement" -}}
{{- $affinity := deepCopy .Values.affinity -}}
{{- $away := list -}}
{{- range .Values.awayFrom -}}
{{- $term := dict "namespaces" (list .namespace) "labelSelector" (dict "matchLabels" .matchLabels) "topologyKey" "kubernetes.io/hostname" -}}
{{- $away = append $away ($.Values.awayFromRequired | ternary $term (dict "weight" 100 "podAffinityTerm" $term)) -}}
{{- end -}}
{{- if $away -}}
{{- $how := .Values.awayFromRequired | ternary "requiredDuringSchedulingIgnoredDuringExecution" "preferredDuringSchedulingIgnoredDuringExecution" -}}
{{- $_ := set $affinity "podAntiAffinity" (dict $how $away) -}}
{{- end -}}
{{- with $affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .Values.topologySpreadConstraints }}
{{- $own := dict "matchLabels" (include "failover.selector" . | fromYaml) }}
{{- $constraints := list }}
{{- range .Values.topologySpreadConstraints }}
{{- $constraints = append $constraints (merge (deepCopy .) (dict "labelSelector" $own)) }}
{{- end }}
topologySpreadConstraints: {{- toYaml $constraints | nindent 2 }}
{{- end }}
{{- end -}}
