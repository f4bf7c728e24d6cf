"""The eval gate: do challenger and champion answer the same cases equally well? `gate` is where it begins.

`suite`, `scorers`, `perturb`, `paired` and `judgement` are pure; `ask`, `judge_model` and `mlflow_record` talk to
servers.
"""
