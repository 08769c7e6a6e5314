"""Owns the entrypoint of jobs: `python -m synapse_sdk.plugins.entrypoint`.

It reads `SYNAPSE_ACTION_ENTRYPOINT` (`module:Object` or `module.Object`), the params as JSON in
`SYNAPSE_ACTION_PARAMS` or in the file `SYNAPSE_ACTION_PARAMS_FILE`, `SYNAPSE_JOB_ID` or
`RAY_JOB_ID`, and `SYNAPSE_LANGUAGE`. The result stands between two marker lines on stdout. Exit
code 0 after a result, 1 after an error, 2 when it is called wrongly.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

RESULT_START = "__SYNAPSE_RESULT_START__"
RESULT_END = "__SYNAPSE_RESULT_END__"


def main(variables: Mapping[str, str] | None = None) -> int:
    """Run the action that the environment names; return the exit code."""
    known = os.environ if variables is None else variables
    try:
        entrypoint, params = _request(known)
    except (KeyError, OSError, ValueError) as error:
        text = error.args[0] if isinstance(error, KeyError) else error
        print(f"Error: {text}", file=sys.stderr)
        return 2
    from synapse_sdk.plugins.errors import PluginError
    from synapse_sdk.plugins.executors.loading import load_entrypoint
    from synapse_sdk.plugins.executors.local import LocalExecutor

    # A job starts in the plugin's directory; `-m` puts it there, other starts may not.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    executor = LocalExecutor(
        job_id=known.get("SYNAPSE_JOB_ID") or known.get("RAY_JOB_ID"),
        language=known.get("SYNAPSE_LANGUAGE"),
    )
    try:
        result = executor.execute(load_entrypoint(entrypoint), params)
    except PluginError as error:
        print(f"Error: {error.message}", file=sys.stderr)
        if error.details is not None:
            print(f"Details: {_text(error.details)}", file=sys.stderr)
        return 1
    print(RESULT_START)
    print(_text(result))
    print(RESULT_END, flush=True)
    return 0


def _request(known: Mapping[str, str]) -> tuple[str, Any]:
    entrypoint = known.get("SYNAPSE_ACTION_ENTRYPOINT")
    if not entrypoint:
        raise KeyError("SYNAPSE_ACTION_ENTRYPOINT is not set")
    file = known.get("SYNAPSE_ACTION_PARAMS_FILE")
    text = known.get("SYNAPSE_ACTION_PARAMS")
    if not text and file:
        with open(file, encoding="utf-8") as opened:
            text = opened.read()
    try:
        return entrypoint, json.loads(text) if text else {}
    except ValueError as error:
        raise ValueError(f"Invalid JSON params: {error}") from error


def _text(value: Any) -> str:
    from synapse_sdk.plugins.results import plain

    return json.dumps(plain(value, finite=True), ensure_ascii=False)


if __name__ == "__main__":
    raise SystemExit(main())
