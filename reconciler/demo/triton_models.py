"""Makes the tour's models for Triton: Python code that says which team takes care of a question.

Imports `lessons`. Called by `triton_tour`.
"""

from __future__ import annotations

import json
from pathlib import Path

from reconciler.demo.lessons import TEAM_BY_DEFAULT, known_words

CONFIG = """backend: "python"
max_batch_size: 16
input [{ name: "QUESTION" data_type: TYPE_STRING dims: [1] }]
output [{ name: "TEAM" data_type: TYPE_STRING dims: [1] }]
"""
_CODE = '''"""Says which team takes care of a question, told by its words."""

import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb


class TritonPythonModel:
    def initialize(self, args):
        told = json.loads((Path(__file__).parent / "words.json").read_text())
        self.words, self.default = told["words"], told["default"]

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        questions = pb.get_input_tensor_by_name(request, "QUESTION").as_numpy()
        teams = [self._team(question.decode()) for question in questions.reshape(-1)]
        if None in teams:
            return pb.InferenceResponse(error=pb.TritonError("no word of the question is known"))
        answer = np.array(teams, dtype=object).reshape(questions.shape)
        return pb.InferenceResponse([pb.Tensor("TEAM", answer)])

    def _team(self, question):
        found = [self.words[word] for word in question.lower().split() if word in self.words]
        return max(set(found), key=found.count) if found else self.default
'''
ALSO = {"v1": {}, "v2": {"phone": "repair"}, "v3": {"phone": "repair"}}


def make_models(folder: Path) -> dict[str, Path]:
    """Write three models: a first one, one that knows a word more, and one that knows no team for other questions."""
    made = {}
    for name, also in ALSO.items():
        made[name] = folder / name
        (made[name] / "1").mkdir(parents=True)
        (made[name] / "config.pbtxt").write_text(CONFIG)
        (made[name] / "1" / "model.py").write_text(_CODE)
        told = {"words": known_words(also), "default": None if name == "v3" else TEAM_BY_DEFAULT}
        (made[name] / "1" / "words.json").write_text(json.dumps(told, sort_keys=True))
    return made
