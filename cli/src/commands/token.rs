//! Owns `synapse backend token`.

use serde_json::{Value, json};
use synapse_backend::{NewToken, Scope, Scopes, Token};
use synapse_engine::Failure;

use crate::{
    app::App,
    args::{BackendToken, Scope as Given},
    render::{BOLD, DIM, GOOD, Printer, dataset::table, moment, paint},
};

/// Runs the command; returns the exit code.
pub(super) fn run(app: &App, args: &BackendToken) -> Result<u8, Failure> {
    match args {
        BackendToken::Create {
            data,
            scope,
            tenant,
            name,
        } => {
            let backend = app.backend_in(data.dir.as_deref(), None)?;
            let scopes: Vec<Scope> = scope.iter().map(Scope::from).collect();
            let scopes = if scopes.is_empty() {
                Scopes::usual()
            } else {
                Scopes::of(&scopes)
            };
            let made = backend.token_create(&NewToken {
                tenant,
                name,
                scopes: &scopes,
            });
            let (token, text) = made.map_err(|error| app.backend_failure(&error))?;
            created(app, &token, &text);
        }
        BackendToken::List { data } => {
            let dir = data.dir.clone().unwrap_or_else(|| app.home.backend());
            let mut tokens = Vec::new();
            // Looking makes no backend.
            if dir.exists() {
                let backend = app.backend_in(Some(&dir), None)?;
                tokens = backend
                    .tokens()
                    .map_err(|error| app.backend_failure(&error))?;
            }
            list(app, &tokens);
        }
        BackendToken::Revoke { id, data } => {
            let none = || {
                Failure::user("no-token", format!("there is no token {id}"))
                    .hint("synapse backend token list shows those there are")
            };
            let dir = data.dir.clone().unwrap_or_else(|| app.home.backend());
            if !dir.exists() {
                return Err(none());
            }
            let backend = app.backend_in(Some(&dir), None)?;
            let revoked = backend.token_revoke(*id).map_err(|error| match error {
                synapse_backend::BackendError::NoToken(_) => none(),
                error => app.backend_failure(&error),
            })?;
            revoke(app, &revoked);
        }
    }
    Ok(0)
}

impl From<&Given> for Scope {
    fn from(given: &Given) -> Self {
        match given {
            Given::Read => Self::Read,
            Given::Publish => Self::Publish,
            Given::Run => Self::Run,
            Given::Admin => Self::Admin,
        }
    }
}

fn created(app: &App, token: &Token, text: &str) {
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        let mut document = json!({
            "schema": 1, "command": "backend token create", "ok": true, "token": text,
        });
        for (name, value) in object(token).as_object().into_iter().flatten() {
            document[name] = value.clone();
        }
        printer.json(&document);
        return;
    }
    if app.output.quiet {
        printer.line(text);
        return;
    }
    printer.line(format!(
        "{} token {} of tenant {}: {}",
        paint(GOOD, "made"),
        token.id,
        paint(BOLD, &token.tenant),
        scopes(token)
    ));
    printer.line(format!("  {text}"));
    printer.line(paint(DIM, "it is shown this once, and kept nowhere"));
}

fn list(app: &App, tokens: &[Token]) {
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        let objects: Vec<Value> = tokens.iter().map(object).collect();
        printer.json(&json!({
            "schema": 1, "command": "backend token list", "ok": true, "tokens": objects,
        }));
        return;
    }
    if tokens.is_empty() {
        printer.line(paint(
            DIM,
            "no tokens: synapse backend token create makes one",
        ));
        return;
    }
    let rows: Vec<[String; 5]> = tokens
        .iter()
        .map(|token| {
            let state = token.revoked.map_or_else(
                || format!("since {}", moment(token.created)),
                |at| format!("revoked {}", moment(at)),
            );
            [
                token.id.to_string(),
                token.tenant.clone(),
                scopes(token),
                state,
                token.name.clone(),
            ]
        })
        .collect();
    table(&mut printer, &rows);
}

fn revoke(app: &App, token: &Token) {
    let mut printer = Printer::stdout(&app.output);
    if app.output.is_machine() {
        printer.json(&json!({
            "schema": 1, "command": "backend token revoke", "ok": true, "revoked": object(token),
        }));
    } else if !app.output.quiet {
        printer.line(format!("{} token {}", paint(GOOD, "revoked"), token.id));
    }
}

fn scopes(token: &Token) -> String {
    let names: Vec<&str> = token.scopes.iter().map(Scope::as_str).collect();
    names.join(", ")
}

fn object(token: &Token) -> Value {
    let scopes: Vec<&str> = token.scopes.iter().map(Scope::as_str).collect();
    json!({
        "id": token.id,
        "tenant": token.tenant,
        "name": token.name,
        "scopes": scopes,
        "created": token.created,
        "revoked": token.revoked,
    })
}
