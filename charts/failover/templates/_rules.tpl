{{/*
Alerts that never let go in the middle of an outage. Each has labels that do not depend on a pod, a target or a reason, and
fires *unless something good is seen*, so that a series that goes away changes nothing. tests/rules proves it. All have the
label `release`, because one Prometheus may have the alerts of two.
*/}}

{{/* What has never been seen says nothing: a selector that fits no chart of yours must not look like an outage. */}}
{{- define "failover.rules.seen" -}}
max(max_over_time({{ . }}[7d])) > 0
{{- end -}}

{{/* What the alert said last, while whoever looks does not answer. For an hour: after that it is no news any more. */}}
{{- define "failover.rules.held" -}}
max(ALERTS{alertname="{{ .alert }}", alertstate="firing", release=~"{{ .release }}|"{{ with .validator }}, validator="{{ . }}"{{ end }}}) == 1 and {{ .watched }}
{{- end -}}

{{/* Alerts about one validator, by what its selectors can show. */}}
{{- define "failover.rules.validator" -}}
{{- $signed := printf `%s{%s, status=~"success|"}` (default "vc_signed_attestations_total" .signed) (default "" .client) -}}
{{- with .client -}}
# Evidence process: what the validator client says of itself, or that it says nothing.
- alert: ValidatorDown
  expr: |
    vector(1) unless max(up{ {{- . -}} }) == 1
    and {{ include "failover.rules.seen" (printf "up{%s}" .) }}
  for: 2m
  labels: {severity: critical, validator: {{ $.name }}, release: {{ $.release }}}
  annotations:
    summary: The validator client of {{ $.name }} does not answer.
# The last line: Prometheus has looked for as long. One that has just started has not seen a signature either.
- alert: ValidatorNotSigning
  expr: |
    vector(1) unless sum(increase({{ $signed }}[15m])) > 0
    and {{ include "failover.rules.seen" $signed }}
    and count(count_over_time(up[2m] offset 13m)) > 0
  for: 2m
  labels: {severity: critical, validator: {{ $.name }}, release: {{ $.release }}}
  annotations:
    summary: The validator client of {{ $.name }} has signed nothing for 15 minutes.
{{- end }}
{{- with .beaconNode }}
- alert: ValidatorBeaconNodeStalled
  expr: |
    vector(1) unless min(slotclock_present_slot{ {{- . -}} } - beacon_head_state_slot{ {{- . -}} }) <= 10
    and {{ include "failover.rules.seen" (printf "beacon_head_state_slot{%s}" .) }}
  for: 2m
  labels: {severity: critical, validator: {{ $.name }}, release: {{ $.release }}}
  annotations:
    summary: The beacon node of {{ $.name }} is more than 10 slots behind, or does not say where it is.
{{- end }}
{{- with .host }}
# Evidence host: the machine.
- alert: ValidatorHostDown
  expr: |
    vector(1) unless max(up{ {{- . -}} }) == 1
    and {{ include "failover.rules.seen" (printf "up{%s}" .) }}
  for: 2m
  labels: {severity: critical, validator: {{ $.name }}, release: {{ $.release }}}
  annotations:
    summary: The machine of {{ $.name }} does not answer.
{{- end }}
{{- with .pod }}
# Evidence kube: computed from kube-state-metrics, so no second opinion to the Kubernetes API. The last lines: it looks, or
# had said so before it went away.
- alert: ValidatorPodNotReady
  expr: |
    vector(1) unless max(kube_pod_status_ready{ {{- . }}, condition="true"}) == 1
    and {{ include "failover.rules.seen" (printf `kube_pod_status_ready{%s, condition="true"}` .) }}
    and (count(kube_node_info) > 0
    or {{ include "failover.rules.held" (dict "alert" "ValidatorPodNotReady" "validator" $.name "release" $.release "watched" "count(last_over_time(kube_node_info[1h])) > 0") }})
  for: 2m
  labels: {severity: warning, validator: {{ $.name }}, release: {{ $.release }}}
  annotations:
    summary: No pod of {{ $.name }} is ready.
{{- end }}
{{- with .chain }}
# Evidence chain: what the chain shows, by a beacon node elsewhere that monitors the validator's public keys. It is no second
# opinion to failover's own look at the chain. Once it fires, only an attestation that was included ends it.
- alert: ValidatorNotAttesting
  expr: |
    vector(1) unless sum(increase(validator_monitor_prev_epoch_on_chain_attester_hit{ {{- . -}} }[20m])) > 0
    and (sum(increase(validator_monitor_prev_epoch_on_chain_attester_miss{ {{- . -}} }[20m])) >= 2
    or {{ include "failover.rules.held" (dict "alert" "ValidatorNotAttesting" "validator" $.name "release" $.release "watched" (printf "max(max_over_time(beacon_head_state_slot{%s}[1h])) > 0" (default . $.chainNode))) }})
  labels: {severity: critical, validator: {{ $.name }}, release: {{ $.release }}}
  annotations:
    summary: No attestation of {{ $.name }} was included for 20 minutes.
{{- end }}
{{- end -}}

{{/* For people: selectors of one validator that have shown nothing. */}}
{{- define "failover.rules.blind" -}}
{{- $series := list -}}
{{- with .client }}{{ $series = append $series (list "client" (printf "up{%s}" .)) }}{{ end -}}
{{- with .client }}{{ $series = append $series (list "signed" (printf `%s{%s, status=~"success|"}` (default "vc_signed_attestations_total" $.signed) .)) }}{{ end -}}
{{- with .beaconNode }}{{ $series = append $series (list "beaconNode" (printf "beacon_head_state_slot{%s}" .)) }}{{ end -}}
{{- with .host }}{{ $series = append $series (list "host" (printf "up{%s}" .)) }}{{ end -}}
{{- with .pod }}{{ $series = append $series (list "pod" (printf `kube_pod_status_ready{%s, condition="true"}` .)) }}{{ end -}}
{{- with .chain }}{{ $series = append $series (list "chain" (printf "validator_monitor_prev_epoch_on_chain_attester_hit{%s}" .)) }}{{ end -}}
- alert: FailoverRuleSeesNothing
  expr: |
    {{- range $at, $one := $series }}
    {{ if $at }}or {{ end }}label_replace(vector(1) unless {{ include "failover.rules.seen" (index $one 1) }}, "selector", "{{ index $one 0 }}", "", "")
    {{- end }}
  for: 30m
  labels: {severity: warning, validator: {{ .name }}, release: {{ .release }}}
  annotations:
    summary: {{ printf "{{ $labels.selector }} of %s has shown nothing in a week: either it selects the wrong series, or Prometheus does not scrape them. No alert can rest on it." .name | quote }}
{{- end -}}

{{/* About the chain, for people. The third line: the beacon node itself is not behind. */}}
{{- define "failover.rules.chain" -}}
- alert: ChainNotFinalising
  expr: |
    vector(1) unless min(slotclock_present_epoch{ {{- .chain -}} } - beacon_finalized_epoch{ {{- .chain -}} }) <= 4
    and (max(slotclock_present_slot{ {{- .chain -}} } - beacon_head_state_slot{ {{- .chain -}} }) <= 10
    or {{ include "failover.rules.held" (dict "alert" "ChainNotFinalising" "release" .release "watched" (printf "max(max_over_time(beacon_head_state_slot{%s}[1h])) > 0" .chain)) }})
  for: 2m
  labels: {severity: warning, release: {{ .release }}}
  annotations:
    summary: The chain has not finalised for more than four epochs.
{{- end -}}

{{/* What the watcher that leads says, or what it said last while none leads. */}}
{{- define "failover.rules.leader" -}}
max by ({{ .by }}) ({{ .series }} and on (instance) failover_leads{ {{- .watcher -}} } == 1) {{ .when }}
or max by ({{ .by }}) (ALERTS{alertname="{{ .alert }}", alertstate="firing", release=~"{{ .release }}|"}) unless on ({{ .on }}) {{ .until }}
{{- end -}}

{{/* About failover itself. */}}
{{- define "failover.rules.watcher" -}}
{{- $for := .Values.prometheusRule.for -}}
{{- $watcher := default (printf `job=%q, namespace=%q` (include "failover.name" .) .Release.Namespace) .Values.prometheusRule.watcher -}}
{{- $leads := printf "max(failover_leads{%s}) == 1" $watcher -}}
{{- $of := dict "watcher" $watcher "by" "validator" "on" "" "until" $leads "release" (include "failover.outerName" .) -}}
- alert: FailoverNobodyWatches
  expr: vector(1) unless {{ $leads }}
  for: {{ $for }}
  labels: {severity: critical, release: {{ include "failover.outerName" $ }}}
  annotations:
    summary: No failover holds the lease, none is running, or Prometheus does not scrape it. Nothing is watched.
# A watcher that has just begun to lead has not asked its sources yet: what was said before counts until then.
- alert: FailoverCannotSay
  expr: |
    {{- include "failover.rules.leader" (merge (dict "alert" "FailoverCannotSay" "by" "validator, source" "when" "== 1"
      "series" (printf `failover_signal{%s, verdict="unknown"}` $watcher) "on" "validator, source"
      "until" (printf `(failover_signal{%s, verdict!="unknown"} and on (instance) failover_leads{%s} == 1)` $watcher $watcher)) $of) | nindent 4 }}
    unless on () (failover_leads{ {{- $watcher -}} } == 1 and sum_over_time(failover_leads{ {{- $watcher -}} }[15m:1m]) >= 15)
  for: {{ $for }}
  labels: {severity: warning, release: {{ include "failover.outerName" $ }}}
  annotations:
    summary: {{ `The source {{ $labels.source }} cannot say whether {{ $labels.validator }} is up; failover status says why.` | quote }}
- alert: FailoverNeedsYou
  expr: |
    {{- include "failover.rules.leader" (merge (dict "alert" "FailoverNeedsYou" "when" "== 1"
      "series" (printf `failover_validator_phase{%s, phase=~"ready|needs_human"}` $watcher)) $of) | nindent 4 }}
  labels: {severity: critical, release: {{ include "failover.outerName" $ }}}
  annotations:
    summary: {{ `{{ $labels.validator }} waits for your decision; failover status says which.` | quote }}
- alert: FailoverStandbyStuck
  expr: |
    {{- include "failover.rules.leader" (merge (dict "alert" "FailoverStandbyStuck" "when" "== 1"
      "series" (printf `failover_standby_stuck{%s}` $watcher)) $of) | nindent 4 }}
  for: {{ $for }}
  labels: {severity: warning, release: {{ include "failover.outerName" $ }}}
  annotations:
    summary: {{ `The standby of {{ $labels.validator }} does not progress by itself; failover status says why, and what helps.` | quote }}
- alert: FailoverMailFails
  expr: |
    {{- include "failover.rules.leader" (merge (dict "alert" "FailoverMailFails" "when" "> 0"
      "series" (printf `{__name__=~"failover_mails_waiting|failover_mails_failed", %s}` $watcher)) $of) | nindent 4 }}
  for: {{ $for }}
  labels: {severity: warning, release: {{ include "failover.outerName" $ }}}
  annotations:
    summary: {{ `Mail about {{ $labels.validator }} does not get out.` | quote }}
- alert: FailoverRecordUnreadable
  expr: |
    {{- include "failover.rules.leader" (merge (dict "alert" "FailoverRecordUnreadable" "when" "> 0" "by" ""
      "series" (printf `failover_unreadable_records{%s}` $watcher)) $of) | nindent 4 }}
  labels: {severity: critical, release: {{ include "failover.outerName" $ }}}
  annotations:
    summary: A record of the ledger cannot be read. Its validator is not acted on.
- alert: FailoverAlertsRefused
  expr: |
    {{- $refused := list }}
    {{- range list "unauthorised" "malformed" "too_large" }}
    {{- $refused = append $refused (printf "increase(failover_webhooks_%s_total{%s}[15m])" . $watcher) }}
    {{- end }}
    sum({{ join " + " $refused }}) > 0
  labels: {severity: warning, release: {{ include "failover.outerName" $ }}}
  annotations:
    summary: Messages to the webhook were refused for good. Is it Alertmanager, with the right token?
{{- end -}}
