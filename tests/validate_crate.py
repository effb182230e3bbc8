"""What the validator of Process Run Crates finds in a crate, as a JSON list.

    python tests/validate_crate.py CRATE SEVERITY

A program of its own: the validator changes what `importlib.metadata` finds in its process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


class Documents:
    """Answers the validator's requests for contexts; there is no network in a test.

    The context of RO-Crate is the one that the library brings; of the terms for runs only those
    that reprorun's crates use are here.
    """

    def __init__(self) -> None:
        import rocrate

        terms = "https://w3id.org/ro/terms/workflow-run#"
        ours = ("ContainerImage", "containerImage", "environment", "registry", "tag", "sha256")
        place = Path(str(rocrate.__file__)).parent / "data" / "ro-crate.jsonld"
        self._known = {
            "https://w3id.org/ro/crate/1.1/context": place.read_text(),
            f"{terms[:-1]}/context": json.dumps(
                {"@context": {term: terms + term for term in ours}}
            ),
        }

    def get(self, url: str, **_: Any) -> Any:
        from requests import Response

        response = Response()
        response.url, response.status_code = url, 200 if url in self._known else 504
        response.headers["Content-Type"] = "application/ld+json"
        response._content = self._known.get(url, "").encode()
        return response

    head = get


def issues(crate: str, severity: str) -> list[str]:
    """What the validator of the profile finds."""
    from rocrate_validator import services
    from rocrate_validator.utils.http import HttpRequester

    settings = services.ValidationSettings(
        rocrate_uri=crate,
        profile_identifier="process-run-crate",
        requirement_severity=severity,
        offline=True,
        cache_path=Path("validator-cache"),
    )
    requester: Any = HttpRequester()
    requester.session.close()
    requester.session = Documents()
    result = services.validate(settings)
    found = [str(issue.message) for issue in result.get_issues()]
    assert result.passed() is not bool(found)
    return found


if __name__ == "__main__":
    print(json.dumps(issues(*sys.argv[1:])))
