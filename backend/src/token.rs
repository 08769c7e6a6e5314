//! Owns tokens: who may ask a server of this backend for what. Only a digest of a token is kept;
//! the token itself is seen once, by whoever makes it.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use rusqlite::{OptionalExtension, Row, params};

use crate::Embedded;
use crate::error::BackendError;
use crate::upload::hex;

/// Whose everything is that no tenant is named for: what the command itself makes and sees.
pub const DEFAULT_TENANT: &str = "default";

/// What every token begins with, so that people and scanners know one.
const MARK: &str = "syn";
/// Characters of a tenant's name, and of a token's.
const TENANT: usize = 63;
const NAME: usize = 200;

const COLUMNS: &str = "id, tenant, name, scopes, created, revoked";

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Looking at everything of the tenant.
    Read,
    /// Making releases, and sending files for them.
    Publish,
    /// Running actions: jobs, their logs, models, applications.
    Run,
    /// Everything, deleting too.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Publish, Self::Run, Self::Admin];

    /// As people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Run => "run",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A set of scopes, in their own order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Those of a list, each once.
    pub fn of(list: &[Scope]) -> Self {
        let mut all = list.to_vec();
        all.sort_unstable();
        all.dedup();
        Self(all)
    }

    /// Everything.
    pub fn all() -> Self {
        Self(Scope::ALL.to_vec())
    }

    /// What a token that is made for everyday work may do: all but administer.
    pub fn usual() -> Self {
        Self(vec![Scope::Read, Scope::Publish, Scope::Run])
    }

    /// Whether one of `wanted` is among them; who administers may do all.
    pub fn allow(&self, wanted: &[Scope]) -> bool {
        self.0
            .iter()
            .any(|own| *own == Scope::Admin || wanted.contains(own))
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }

    fn text(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|scope| scope.as_str()).collect();
        names.join(",")
    }

    /// What is not known any more allows nothing.
    fn read(text: &str) -> Self {
        let names = text.split(',');
        let known =
            names.filter_map(|name| Scope::ALL.into_iter().find(|own| own.as_str() == name));
        Self(known.collect())
    }
}

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken<'a> {
    /// Whose rows it opens.
    pub tenant: &'a str,
    /// What it is for, in the words of who makes it; may be empty.
    pub name: &'a str,
    /// What it allows.
    pub scopes: &'a Scopes,
}

/// What is kept of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its number, of no other token ever.
    pub id: i64,
    /// Whose rows it opens.
    pub tenant: String,
    /// What it is for.
    pub name: String,
    /// What it allows.
    pub scopes: Scopes,
    /// Unix seconds.
    pub created: i64,
    /// Since when it opens nothing any more.
    pub revoked: Option<i64>,
}

/// Whether a tenant may have this name: lower-case letters, digits, hyphens and underscores,
/// beginning with a letter or digit, at most 63 of them.
pub fn is_tenant(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=TENANT).contains(&name.len())
        && name
            .bytes()
            .all(|byte| inner(byte) || b"-_".contains(&byte))
        && name.bytes().next().is_some_and(inner)
}

/// A token that nobody can guess: 64 hex digits.
pub fn new_token() -> Result<String, BackendError> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0; 32];
    File::open(source)
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|cause| BackendError::io("read", source, cause))?;
    Ok(hex(&bytes))
}

impl Embedded {
    /// Makes a token. The text is returned here and nowhere else ever again.
    pub fn token_create(&self, new: &NewToken<'_>) -> Result<(Token, String), BackendError> {
        let refuse = |text: String| Err(BackendError::Refused(text));
        if !is_tenant(new.tenant) {
            return refuse(format!(
                "{:?} is no name of a tenant: it takes lower-case letters, digits, hyphens and \
                 underscores, begins with a letter or digit, and has at most {TENANT} characters",
                new.tenant
            ));
        }
        if new.name.chars().count() > NAME || new.name.chars().any(char::is_control) {
            return refuse(format!(
                "the name of a token has at most {NAME} characters and no control characters"
            ));
        }
        if new.scopes.iter().next().is_none() {
            return refuse("a token without a scope would open nothing".to_owned());
        }
        let secret = new_token()?;
        self.hooks
            .at("backend.commit")
            .map_err(BackendError::stopped("write"))?;
        let id = {
            let conn = self.database();
            conn.prepare_cached(
                "INSERT INTO token (digest, tenant, name, scopes, created) \
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )
            .and_then(|mut insert| {
                insert.insert(params![
                    blake3::hash(secret.as_bytes()).as_bytes(),
                    new.tenant,
                    new.name,
                    new.scopes.text(),
                    (self.options.clock)(),
                ])
            })
            .map_err(BackendError::database("write"))?
        };
        let made = self.token(id)?;
        Ok((made, format!("{MARK}_{id}_{secret}")))
    }

    /// All tokens of all tenants, revoked ones too, by their numbers.
    pub fn tokens(&self) -> Result<Vec<Token>, BackendError> {
        let failed = BackendError::database("read");
        let conn = self.database();
        let mut select = conn
            .prepare_cached(&format!("SELECT {COLUMNS} FROM token ORDER BY id"))
            .map_err(&failed)?;
        let rows = select.query_map([], token_of).map_err(&failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)
    }

    /// A token.
    pub fn token(&self, id: i64) -> Result<Token, BackendError> {
        let conn = self.database();
        conn.prepare_cached(&format!("SELECT {COLUMNS} FROM token WHERE id = ?1"))
            .and_then(|mut select| select.query_row([id], token_of).optional())
            .map_err(BackendError::database("read"))?
            .ok_or(BackendError::NoToken(id))
    }

    /// Makes a token open nothing any more, at once, at every server of this backend. Doing it
    /// again changes nothing.
    pub fn token_revoke(&self, id: i64) -> Result<Token, BackendError> {
        self.hooks
            .at("backend.commit")
            .map_err(BackendError::stopped("write"))?;
        self.database()
            .execute(
                "UPDATE token SET revoked = ?2 WHERE id = ?1 AND revoked IS NULL",
                params![id, (self.options.clock)()],
            )
            .map_err(BackendError::database("write"))?;
        self.token(id)
    }

    /// The token whose text this is, unless it was revoked.
    pub(crate) fn token_find(&self, text: &str) -> Result<Option<Token>, BackendError> {
        let parts = text
            .strip_prefix(MARK)
            .and_then(|rest| rest.strip_prefix('_'))
            .and_then(|rest| rest.split_once('_'));
        let Some((id, secret)) = parts
            .filter(|(id, _)| id.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|(id, secret)| Some((id.parse::<i64>().ok()?, secret)))
        else {
            return Ok(None);
        };
        let conn = self.database();
        let sql = format!("SELECT {COLUMNS}, digest FROM token WHERE id = ?1 AND revoked IS NULL");
        let found = conn
            .prepare_cached(&sql)
            .and_then(|mut select| {
                let row = |row: &Row<'_>| Ok((token_of(row)?, row.get::<_, [u8; 32]>(6)?));
                select.query_row([id], row).optional()
            })
            .map_err(BackendError::database("read"))?;
        // `blake3::Hash` compares in constant time.
        let given = blake3::hash(secret.as_bytes());
        Ok(found
            .filter(|(_, digest)| blake3::Hash::from_bytes(*digest) == given)
            .map(|(token, _)| token))
    }
}

fn token_of(row: &Row<'_>) -> rusqlite::Result<Token> {
    Ok(Token {
        id: row.get(0)?,
        tenant: row.get(1)?,
        name: row.get(2)?,
        scopes: Scopes::read(&row.get::<_, String>(3)?),
        created: row.get(4)?,
        revoked: row.get(5)?,
    })
}
