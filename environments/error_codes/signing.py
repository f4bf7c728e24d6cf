"""Codes of approvals, keys and signed heads of the ledger. Pure data."""

from __future__ import annotations

from environments.error_codes.code import Row

ROWS: tuple[Row, ...] = (
    ("APPR-001", "Too few approvals", "Fewer people signed the plan than `approvals.needed` asks for.", "`sluice approve plan.json --key FILE` by somebody else, then `sluice apply plan.json`."),
    ("APPR-002", "A key that may not approve", "It is none of the environment's `approvals.keys`.", "Sign with a key that is there, or add this one in a change of its own."),
    ("APPR-003", "An approval without a signature", "Its signature was stripped.", "Take the line out of the file of approvals, and have the plan approved again."),
    ("APPR-004", "A signature does not fit", "The approval was changed after it was signed, or names another person than the one whose key signed it.", "Take the line out of the file of approvals, and have the plan approved again."),
    ("APPR-005", "Another plan was approved", "The file of approvals is for another digest or another environment.", "Delete it, and have this plan approved."),
    ("APPR-006", "Approved by the author", "Whoever made the plan does not count; `SLUICE_AUTHOR` says who that is.", "Have somebody else approve it."),
    ("APPR-007", "Approved twice by one person", "Two keys of one person are one person.", "Have somebody else approve it."),
    ("APPR-008", "The file of approvals cannot be read", "It holds something else than DSSE envelopes with approvals, a JSON line each.", "Delete it, and have the plan approved again."),
    ("APPR-009", "Approvals are for saved plans", "The environment asks for approvals, and `apply` was given no saved plan.", "`sluice plan ENV -o plan.json`, `sluice approve plan.json`, `sluice apply plan.json`."),
    ("APPR-010", "The approvers before the change did not agree", "A change of `approvals` has to be approved by the rule of the last apply too.", "Have it approved by those people; `sluice history ENV` shows the rule. Where all their keys are lost: `sluice lost-keys ENV --reason …`, which needs a day and stands in the ledger."),
    ("APPR-011", "Nobody's keys to set aside", "No plan was applied with approvals yet, or there is nothing to withdraw.", "Change `approvals` in the environment file; nobody else is asked."),
    ("APPR-012", "Approvers are set aside", "Somebody said that the keys of the approvers on record are lost; after a day the file's own approvers are enough.", "Look who said so (`sluice history ENV`). If it is not so: `sluice lost-keys ENV --withdraw --reason …`, or apply a plan that the approvers on record signed."),
    ("SIGN-001", "A file cannot sign", "It is not there, holds no Ed25519 or ECDSA P-256 private key, or needs a password.", "Name such a key; `SLUICE_KEY_PASSWORD` gives the password."),
    ("SIGN-002", "A KMS key cannot sign", "AWS refused, or the key is of a kind or for a use that Sluice does not take.", "Name a key of the spec ECC_NIST_P256 or ECC_NIST_EDWARDS25519, and allow `kms:Sign` and `kms:GetPublicKey`."),
    ("SIGN-003", "A package for signatures is missing", "cryptography or boto3 is not installed.", "`pip install 'sluice[signing]'`."),
    ("SIGN-004", "Not one key", "No private key is named, or two are.", "`--key FILE` or `--kms ARN`, or a variable that the message names."),
    ("LEDGER-002", "The ledger was written anew", "Its chain fits together, and an entry has another hash than a signed head says.", "Restore the database from a backup, and find out who could write to it."),
    ("LEDGER-003", "A head proves nothing", "Nobody whose key is believed signed it, it is of another environment, or it is something else.", "Give a file that `sluice ledger anchor` wrote, and list its key in `ledger.keys`."),
    ("LEDGER-004", "No head was signed", "No key is named, or the ledger has no entry yet.", "Add `ledger.sign_with` to the environment file, or export `SLUICE_LEDGER_KEY`."),
)  # fmt: skip
