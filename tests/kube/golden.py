"""What is injected into some manifests, and answered to some reviews, as files.

`NAME.yaml` becomes `NAME.injected.yaml`, `NAME.json` gets `NAME.answer.json`. After a
change that is meant: `python -m tests.kube.golden` writes them anew, and the difference
is looked at like any other.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from sidecar.kube.admission import answer
from sidecar.kube.documents import rewrite
from sidecar.kube.options import Options
from sidecar.kube.workloads import inject_object

HERE = Path(__file__).parent
MANIFESTS = sorted(
    path for path in HERE.glob("manifests/*.yaml") if path.suffixes == [".yaml"]
)
REVIEWS = sorted(
    path for path in HERE.glob("reviews/*.json") if path.suffixes == [".json"]
)
# Not the version of today: what is compared must not change with each release.
OPTIONS = Options(image="registry.example/sidecar-316:1.2.3")


def injected(text: str) -> str:
    return rewrite(text, lambda value: inject_object(value, OPTIONS))[0]


def answered(data: bytes) -> dict[str, Any]:
    """Return an answer with its patch as people can read it."""
    review = answer(data, OPTIONS).review
    if "patch" in review["response"]:
        patch = json.loads(base64.b64decode(review["response"]["patch"]))
        review["response"]["patch"] = patch
    return review


def of(path: Path) -> Path:
    """Return where the golden file of a case is."""
    word = "injected" if path.suffix == ".yaml" else "answer"
    return path.with_suffix(f".{word}{path.suffix}")


def main() -> None:
    for path in MANIFESTS:
        of(path).write_text(injected(path.read_text("utf-8")), "utf-8")
    for path in REVIEWS:
        text = json.dumps(answered(path.read_bytes()), indent=2)
        of(path).write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
