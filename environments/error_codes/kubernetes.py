"""Codes of the client of Kubernetes."""

from __future__ import annotations

from environments.error_codes.code import Row

ROWS: tuple[Row, ...] = (
    ("KUBE-001", "The cluster cannot be chosen", "The kubeconfig is missing or damaged, or has no such context.", "Correct `context`, or write that context, such as with `aws eks update-kubeconfig --alias NAME`."),
    ("KUBE-002", "The cluster refuses the credentials", "They are wrong or have expired, or the program that makes them failed.", "Sign in again, or correct the user of that context."),
    ("KUBE-003", "A right in the cluster is missing", "RBAC does not allow this user or service account to do it.", "Add the rule that the message prints to its role."),
    ("KUBE-004", "The cluster does not know a kind", "Its CRD is not installed, or not at that version.", "Install the CRD that the message names."),
    ("KUBE-005", "Somebody else manages a field", "A server-side apply would have changed fields of another field manager.", "Let that manager give the fields up, or take them over with `sluice adopt`."),
    ("KUBE-006", "An admission rule refuses an object", "The namespace's Pod Security level, a webhook or a policy does not allow it.", "Change the fields that the message names, or talk to the owner of the rule."),
    ("KUBE-007", "A quota is used up", "The namespace may not hold more of what the quota counts.", "Free some, or ask for a larger quota."),
    ("KUBE-008", "The API server does not answer", "It is out of reach, or its certificate is not trusted.", "Check address, network and CA; then run the same command again."),
    ("KUBE-009", "The API server has no room", "It answers 429 or 503, and waiting as it asked did not help.", "Wait, or give Sluice's service account a FlowSchema of its own."),
    ("KUBE-010", "The object changed meanwhile", "It is another object, or in a later state, than the one that was judged; nothing was written.", "Run the same command again: it looks anew."),
    ("KUBE-011", "The API server refuses what was sent", "A field is unknown or has a value that may not be.", "Correct the fields that the message names."),
    ("KUBE-012", "The object is not there", "It, or its namespace, was to be changed and does not exist.", "Create it first, or correct the name."),
    ("KUBE-013", "What is known of the cluster is too old", "The watch has not heard of the API server for longer than a decision allows.", "Check that the API server answers; then run the same command again."),
    ("KUBE-014", "A package for Kubernetes is missing", "The extra `kubernetes` is not installed.", "`pip install 'sluice[kubernetes]'`."),
    ("KUBE-015", "A pod does not answer", "It was asked through the API server and is absent, not listening, or answers with an error.", "Look at the pod and its log."),
    ("KUBE-016", "The API server answers with an error", "Nothing more is known than the message says.", "Look at the API server's log; then run the same command again."),
    ("KUBE-017", "Prometheus has not scraped a pod that counts", "The region names a Prometheus, and a proxy of the gateway is not among what it has scraped lately; half a sum is none.", "Look at its targets and at the PodMonitor of these pods."),
)  # fmt: skip
