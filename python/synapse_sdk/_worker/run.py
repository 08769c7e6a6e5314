"""Owns one run of one action in a worker, from the request to the result or the error."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from synapse_sdk._worker import report
from synapse_sdk._worker.bytecode import keep_fresh
from synapse_sdk._worker.channel import Channel, TooLargeError, encode

INTERRUPTED = 130


def run(channel: Channel, request: dict[str, Any], sdk: str, *, check: bool = False) -> int:
    """Run the action that `request` names and send what comes of it; return the exit code.

    With `check` it is only imported, and its params looked at.
    """
    process = os.getpid()
    try:
        code, payload = _outcome(channel, request, sdk, check=check)
    except KeyboardInterrupt as error:
        code = INTERRUPTED
        payload = encode("error", **report.failure("keyboard-interrupt", error, message="Aborted"))
    except SystemExit as error:
        code, payload = _exit(error)
    except BaseException as error:
        from synapse_sdk.plugins.executors.trace import trace

        code = 1
        payload = encode("error", **report.failure("execution", error, traceback=trace(error)))
    if os.getpid() != process:
        # A child that the action forked came back through it: the outcome is not its to tell.
        return code
    return code if _last_word(channel, payload) else 1


def _last_word(channel: Channel, payload: bytes) -> bool:
    """Say what came of the run; False if that was too much to say."""
    # An interrupt from here on must not tear what is being said.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    _flush()
    said = True
    try:
        channel.send_encoded(payload)
    except TooLargeError as error:
        said = False
        text = f"the result is too large: {error}"
        channel.send("error", **report.failure("too-large", error, message=text))
    channel.told = True
    # None: a handler that is not Python's.
    signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
    return said


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def _exit(error: SystemExit) -> tuple[int, bytes]:
    code: Any = error.code
    text = "the action ended the process"
    if code is None:
        code = 0
    elif isinstance(code, int):
        code &= 0xFF
    else:
        text, code = str(code), 1
        with contextlib.suppress(Exception):
            # As the interpreter does.
            print(text, file=sys.stderr)
    fields = report.failure("system-exit", error, message=text, details={"code": code})
    return code, encode("error", **fields)


def _outcome(
    channel: Channel, request: dict[str, Any], sdk: str, *, check: bool
) -> tuple[int, bytes]:
    folder = request["plugin"]["dir"]
    _settle(folder, sdk, request["entrypoint"])
    try:
        from synapse_sdk._worker.logger import WorkerLogger
        from synapse_sdk.plugins.errors import PluginError
        from synapse_sdk.plugins.executors import invocation
        from synapse_sdk.plugins.executors.loading import load_entrypoint
    except ImportError as error:
        return 1, encode("error", **report.failure("import", error, details={"module": error.name}))
    try:
        try:
            action = load_entrypoint(request["entrypoint"])
        except PluginError:
            raise
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            return 1, encode("error", **report.of_import(error, request["entrypoint"], folder))
        action = invocation.action_class(action)
        _name(action, request)
        # Address space only, until it is needed.
        invocation.reserve.append(bytearray(8 << 20))
        logger = WorkerLogger(channel)
        ctx = _context(request, logger)
        try:
            if check:
                invocation.parse_params(action, request.get("params"), ctx)
                return 0, encode("result", value=None, model=None, warnings=[])
            result = invocation.invoke(action, request.get("params"), ctx)
        finally:
            logger.flush()
    except PluginError as error:
        return 1, encode("error", **report.of_plugin(error))
    return 0, _result(action, result, request)


def _result(action: Any, result: Any, request: dict[str, Any]) -> bytes:
    from synapse_sdk.plugins.executors.invocation import plain_result

    value, warnings = plain_result(action, result)
    kept = request.get("result_file")
    if kept:
        _write(Path(kept), value)
    models: tuple[Any, ...] = (type(result), getattr(action, "result_model", None))
    name = next((model.__name__ for model in models if hasattr(model, "model_fields")), None)
    return encode("result", value=value, model=name, warnings=warnings)


def _write(path: Path, value: Any) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8", errors="replace")
    os.replace(part, path)


def _settle(folder: str, sdk: str, entrypoint: str) -> None:
    """Make this process look as if `python` had been given the plugin's file to run."""
    keep_fresh(folder)
    if sys.path and sys.path[0] == "":
        sys.path[0] = folder
    else:
        sys.path.insert(0, folder)
    while sdk in sys.path[1:]:
        del sys.path[sys.path.index(sdk, 1)]
    sys.path.insert(1, sdk)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{sdk}{os.pathsep}{before}" if before else sdk
    module = entrypoint.rpartition(":" if ":" in entrypoint else ".")[0]
    base = os.path.join(folder, *module.split("."))
    files = (f"{base}.py", os.path.join(base, "__init__.py"))
    sys.argv[:] = [next((file for file in files if os.path.isfile(file)), folder)]
    # The command reads this through a pipe: what is printed is to be seen as it comes.
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True)


def _name(action: Any, request: dict[str, Any]) -> None:
    """Give a class that does not name itself the name that the config gives it."""
    if not getattr(action, "action_name", None):
        with contextlib.suppress(AttributeError, TypeError):
            action.action_name = request.get("action")


def _context(request: dict[str, Any], logger: Any) -> Any:
    from synapse_sdk.plugins.context import RuntimeContext
    from synapse_sdk.plugins.environment import PluginEnvironment

    ctx: Any = RuntimeContext(
        logger=logger,
        env=PluginEnvironment.from_environ(),
        job_id=request.get("job_id"),
        client=_client(request.get("backend")),
        checkpoint=request.get("checkpoint"),
        language=request.get("language"),
    )
    if request.get("cache"):
        # Where the helpers of base actions download to.
        ctx.cache_dir = request["cache"]
    return ctx


def _client(backend: dict[str, Any] | None) -> Any:
    if not backend:
        return None
    from synapse_sdk.clients.backend import BackendClient

    return BackendClient(
        backend["host"],
        backend.get("token"),
        user_token=backend.get("user_token"),
        tenant=backend.get("tenant"),
        agent_token=backend.get("agent"),
    )
