//! Owns how the ending of a run reads as a failure: what happened, and one hint.

use std::fmt::Write as _;

use serde_json::Value;
use synapse_engine::{Failure, FailureKind};

use crate::worker::{
    ending::{Ending, Evidence},
    host::Report,
    protocol::{FieldError, Raised},
};

/// How the guide's troubleshooting writes parameters.
pub(crate) const PARAMS_HINT: &str = "Verify JSON format: --params '{\"key\": \"value\"}'";

/// The longest value that is shown, in characters.
const LONGEST: usize = 60;

/// The failure of a run that did not return.
pub fn failure(report: &Report, action: &str) -> Option<Failure> {
    let python = |code: &str, what: String| Failure::new(FailureKind::Python, code, what);
    Some(match &report.ending {
        Ending::Returned(_) => return None,
        Ending::Raised(raised) => self::raised(raised, action),
        Ending::Exited {
            code,
            said: Some(said),
        } => {
            let what = format!("Python could not be started (exit code {code})\n{said}");
            Failure::environment("worker", what)
                .hint("try another Python with --python, or another environment with --env managed")
        }
        Ending::Exited { code, said: None } => {
            let what =
                format!("{action} ended its process with exit code {code} and left no result");
            python("exited", what).hint("return from the action; os._exit ends the process at once")
        }
        Ending::Killed {
            name,
            signal,
            trace,
        } => {
            let mut what = match *name {
                "SIGSEGV" => format!("{action} crashed: segmentation fault (SIGSEGV)"),
                "SIGABRT" => format!("{action} crashed: aborted (SIGABRT)"),
                "SIGKILL" => format!("{action} was killed from outside (SIGKILL)"),
                name => format!("{action} was ended by {name} (signal {signal})"),
            };
            if let Some(trace) = trace {
                let _ = write!(what, "\n{trace}");
            }
            let code = if *name == "SIGSEGV" {
                "segfault"
            } else {
                "killed"
            };
            let hint = match *name {
                "SIGKILL" => "somebody, or the system for want of memory, ended it",
                _ => "the fault is in compiled code that the action called",
            };
            python(code, what).hint(hint)
        }
        Ending::OutOfMemory { evidence, .. } => {
            let what = match evidence {
                Evidence::Group => "it was ended at the limit of --memory",
                Evidence::System => "the system ended it when memory ran out",
                Evidence::Raised => "MemoryError",
                Evidence::Allocation => "compiled code was refused memory at the limit of --memory",
            };
            python(
                "out-of-memory",
                format!("{action} ran out of memory: {what}"),
            )
            .hint("lower what it loads at once, such as the batch size, or raise --memory")
        }
        Ending::TimedOut { after, killed } => {
            let seconds = after.as_secs_f64();
            let how = if *killed {
                "it had to be killed"
            } else {
                "it was stopped"
            };
            python(
                "timeout",
                format!("{action} did not end within {seconds} s; {how}"),
            )
            .hint("raise --timeout")
        }
        Ending::Interrupted { killed } => {
            let how = if *killed {
                "interrupted twice: killed"
            } else {
                "interrupted"
            };
            Failure {
                message: format!("{action} was {how}"),
                ..Failure::cancelled()
            }
        }
    })
}

/// The failure of an action that raised.
pub fn raised(raised: &Raised, action: &str) -> Failure {
    let Raised {
        kind,
        class,
        message,
        traceback,
        errors,
        ..
    } = raised;
    let python = |what: String| Failure::new(FailureKind::Python, kind, what);
    let traced = |mut what: String| {
        if let Some(traceback) = traceback {
            let _ = write!(what, "\n{}", frames(&what, traceback));
        }
        python(what)
    };
    let named = || format!("{class}: {message}");
    match kind.as_str() {
        "validation" => match errors.as_deref() {
            Some(errors) if !errors.is_empty() => python(fields(errors, class, action)),
            _ => traced(named()),
        }
        .hint(PARAMS_HINT),
        _ if class == "ModuleNotFoundError" => traced(named()).hint(
            "Run pip install -r requirements.txt, or let synapse make the environment with \
             --env managed",
        ),
        "action-not-found" | "entrypoint" => {
            let hint = format!("Check actions.{action}.entrypoint in config.yaml");
            traced(named()).hint(hint)
        }
        "import" => traced(named()).hint("the action's module must be importable"),
        "system-exit" => {
            let code = &raised.details["code"];
            python(format!(
                "{action} ended itself with sys.exit({code}) and left no result"
            ))
            .hint("return the result, or raise an exception")
        }
        "too-large" => {
            python(message.clone()).hint("write large results to a file and return its path")
        }
        "protocol" => Failure::bug(message.clone()),
        _ if message.contains("Backend client is None") => {
            traced(named()).hint("Use --mode remote or mock the client")
        }
        _ => traced(named()),
    }
}

/// The failure of params that were refused before the action was started.
pub fn refused(errors: &[FieldError], action: &str) -> Failure {
    let what = fields(errors, "ValidationError", action);
    Failure::new(FailureKind::Python, "validation", what).hint(PARAMS_HINT)
}

/// A traceback without its last words where the line above, `told`, says them already.
pub fn frames<'t>(told: &str, traceback: &'t str) -> &'t str {
    let traceback = traceback.trim_end();
    if let Some(rest) = traceback.strip_suffix(told)
        && rest.ends_with('\n')
    {
        return rest.trim_end();
    }
    match traceback.rsplit_once('\n') {
        // Of a SyntaxError the line above has the place too.
        Some((rest, last)) if last.contains(": ") && told.starts_with(last) => rest,
        _ => traceback,
    }
}

/// Every field that is wrong, with its value and the rule that it breaks.
fn fields(errors: &[FieldError], class: &str, action: &str) -> String {
    let count = match errors.len() {
        1 => "1 parameter".to_owned(),
        count => format!("{count} parameters"),
    };
    let verb = if errors.len() == 1 { "is" } else { "are" };
    let mut what = format!("{class}: {count} of {action} {verb} not valid");
    for error in errors {
        let path = error.path();
        let _ = match (path.as_str(), error.rule.as_str()) {
            ("", _) => write!(what, "\n  {}", error.message),
            (path, "missing") => write!(what, "\n  {path}: {} (missing)", error.message),
            (path, rule) => {
                write!(
                    what,
                    "\n  {path} = {}: {} ({rule})",
                    shown(&error.input),
                    error.message
                )
            }
        };
    }
    what
}

/// A value as JSON, cut when it is long.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    let start: String = text.chars().take(LONGEST).collect();
    format!("{start}...")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn report(ending: Ending) -> Report {
        Report {
            ending,
            exit: 1,
            left: Vec::new(),
            bytes: 0,
            notes: Vec::new(),
        }
    }

    fn raised(value: Value) -> Ending {
        Ending::Raised(serde_json::from_value(value).expect("an error"))
    }

    #[test]
    fn nothing_is_said_twice() {
        let frame = "Traceback\n  File \"a.py\", line 2";
        for (told, last, kept) in [
            ("SyntaxError: bad (a.py, line 2)", "SyntaxError: bad", ""),
            ("ValueError: one\ntwo", "ValueError: one\ntwo", ""),
            (
                "ExecutionError: failed: boom",
                "ValueError: boom",
                "\nValueError: boom",
            ),
            ("ValueError: one", "ValueError", "\nValueError"),
        ] {
            let traceback = format!("{frame}\n{last}\n");
            assert_eq!(frames(told, &traceback), format!("{frame}{kept}"), "{told}");
        }
        assert_eq!(frames("KeyError: 1", "KeyError: 1"), "KeyError: 1");
    }

    #[test]
    fn endings_read_well() {
        let endings = [
            raised(
                json!({"kind": "validation", "class": "ValidationError", "message": "bad",
                "errors": [
                    {"loc": ["epochs"], "message": "Input should be greater than or equal to 1",
                     "type": "greater_than_equal", "input": -1},
                    {"loc": ["dataset"], "message": "Field required", "type": "missing", "input": {}},
                    {"loc": ["layers", 2], "message": "Input should be a valid integer",
                     "type": "int_type", "input": "x".repeat(200)},
                ]}),
            ),
            raised(json!({"kind": "execution", "class": "ExecutionError",
                "message": "Action execution failed: boom", "traceback": "Traceback\n  f\n"})),
            raised(
                json!({"kind": "module-not-found", "class": "ModuleNotFoundError",
                "message": "No module named 'torch'"}),
            ),
            raised(json!({"kind": "system-exit", "class": "SystemExit", "details": {"code": 3}})),
            Ending::Exited {
                code: 7,
                said: None,
            },
            Ending::Exited {
                code: 1,
                said: Some("cannot load".to_owned()),
            },
            Ending::Killed {
                signal: 11,
                name: "SIGSEGV",
                trace: Some("Fatal Python error".into()),
            },
            Ending::Killed {
                signal: 9,
                name: "SIGKILL",
                trace: None,
            },
            Ending::OutOfMemory {
                evidence: Evidence::Group,
                raised: None,
            },
            Ending::TimedOut {
                after: Duration::from_millis(1500),
                killed: true,
            },
            Ending::Interrupted { killed: false },
        ];
        let mut text = String::new();
        for ending in endings {
            let failure = failure(&report(ending), "train").expect("a failure");
            let (code, kind, hint) = (&failure.code, failure.kind, failure.hint.as_deref());
            let hint = hint.unwrap_or("-");
            let _ = writeln!(text, "{kind:?} {code}: {}\n  hint: {hint}", failure.message);
        }
        insta::assert_snapshot!(text);
    }
}
