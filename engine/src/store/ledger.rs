//! Owns the ledger: every effect outside, from intent through sent to confirmed. It lives with
//! the user's data, not in the store: it is what cannot be made again.

use std::{fs, os::unix::fs::DirBuilderExt, path::Path, sync::Mutex};

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::{
    Hook, StoreError,
    blob::lock,
    migrate::{self, Durability},
};
use crate::digest::Digest;

const MIGRATIONS: &[&str] = &["
    CREATE TABLE effect (id INTEGER PRIMARY KEY, target TEXT NOT NULL, slot TEXT NOT NULL,
        content BLOB NOT NULL, state TEXT NOT NULL, receipt TEXT, intended INTEGER NOT NULL,
        changed INTEGER NOT NULL);
    CREATE INDEX effect_slot ON effect (target, slot, id);
"];

/// How far an effect got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectState {
    /// Written down, nothing sent.
    Intent,
    /// Handed to the target; whether it arrived is unknown.
    Sent,
    /// The target said that it has it.
    Confirmed,
    /// The target said no, or it is known that nothing arrived.
    Abandoned,
}

impl EffectState {
    fn name(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Sent => "sent",
            Self::Confirmed => "confirmed",
            Self::Abandoned => "abandoned",
        }
    }

    fn named(name: &str) -> Self {
        match name {
            "intent" => Self::Intent,
            "confirmed" => Self::Confirmed,
            "abandoned" => Self::Abandoned,
            // What is not understood may have been sent: ask.
            _ => Self::Sent,
        }
    }
}

/// One effect as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// Row number, in order of intent.
    pub id: i64,
    /// Where.
    pub target: String,
    /// Which place there.
    pub slot: String,
    /// What.
    pub content: Digest,
    /// How far it got.
    pub state: EffectState,
    /// What the target said that it has.
    pub receipt: Option<String>,
}

/// What a target has, as it said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Which place there.
    pub slot: String,
    /// What.
    pub content: Digest,
    /// The target's own id of it.
    pub receipt: String,
    /// When it said so, Unix seconds.
    pub at: i64,
}

/// The ledger file.
pub struct Ledger {
    connection: Mutex<Connection>,
    hook: Option<Hook>,
}

impl Ledger {
    /// Opens the ledger at `path`, creating it with its folder.
    pub fn open(path: &Path, hook: Option<Hook>) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(StoreError::io(format!(
                    "cannot create {}",
                    folder.display()
                )))?;
        }
        let connection = migrate::open(path, MIGRATIONS, Durability::Full, hook.as_ref())?;
        Ok(Self {
            connection: Mutex::new(connection),
            hook,
        })
    }

    fn step(&self, name: &str) -> Result<(), StoreError> {
        match &self.hook {
            Some(hook) => hook(name).map_err(StoreError::io("cannot write to the ledger")),
            None => Ok(()),
        }
    }

    /// Writes down what is about to be done; returns the row to move on.
    pub fn intend(
        &self,
        target: &str,
        slot: &str,
        content: &Digest,
        now: i64,
    ) -> Result<i64, StoreError> {
        self.step("ledger.intent")?;
        let connection = lock(&self.connection);
        connection
            .prepare_cached(
                "INSERT INTO effect (target, slot, content, state, intended, changed)
                 VALUES (?1, ?2, ?3, 'intent', ?4, ?4)",
            )?
            .execute(params![target, slot, content.as_bytes(), now])?;
        Ok(connection.last_insert_rowid())
    }

    /// Moves an effect on.
    pub fn advance(
        &self,
        id: i64,
        state: EffectState,
        receipt: Option<&str>,
        now: i64,
    ) -> Result<(), StoreError> {
        self.step(match state {
            EffectState::Intent => "ledger.intent",
            EffectState::Sent => "ledger.sent",
            EffectState::Confirmed => "ledger.confirmed",
            EffectState::Abandoned => "ledger.abandoned",
        })?;
        lock(&self.connection)
            .prepare_cached(
                "UPDATE effect SET state = ?2, receipt = ifnull(?3, receipt), changed = ?4 WHERE id = ?1",
            )?
            .execute(params![id, state.name(), receipt, now])?;
        Ok(())
    }

    /// The newest effect on a slot.
    pub fn last(&self, target: &str, slot: &str) -> Result<Option<Effect>, StoreError> {
        let connection = lock(&self.connection);
        let mut select = connection.prepare_cached(
            "SELECT id, target, slot, content, state, receipt FROM effect
             WHERE target = ?1 AND slot = ?2 ORDER BY id DESC LIMIT 1",
        )?;
        Ok(select.query_row([target, slot], effect).optional()?)
    }

    /// What a target is known to have: for each slot whose newest effect is confirmed, when that
    /// was last said.
    pub fn receipts(&self, target: &str) -> Result<Vec<Receipt>, StoreError> {
        let connection = lock(&self.connection);
        let mut select = connection.prepare_cached(
            "SELECT slot, content, receipt, changed FROM effect WHERE id IN
             (SELECT max(id) FROM effect WHERE target = ?1 GROUP BY slot) AND state = 'confirmed'",
        )?;
        let rows = select.query_map([target], |row| {
            Ok(Receipt {
                slot: row.get(0)?,
                content: digest(row.get_ref(1)?.as_blob()?),
                receipt: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
                at: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Writes down what the target said again that it has, all or nothing.
    pub fn renew(&self, target: &str, receipts: &[Receipt]) -> Result<(), StoreError> {
        self.step("ledger.confirmed")?;
        let mut connection = lock(&self.connection);
        let transaction = connection.transaction()?;
        {
            let mut newest = transaction.prepare_cached(
                "UPDATE effect SET changed = ?5 WHERE id =
                 (SELECT max(id) FROM effect WHERE target = ?1 AND slot = ?2)
                 AND state = 'confirmed' AND content = ?3 AND receipt = ?4",
            )?;
            let mut insert = transaction.prepare_cached(
                "INSERT INTO effect (target, slot, content, state, receipt, intended, changed)
                 VALUES (?1, ?2, ?3, 'confirmed', ?4, ?5, ?5)",
            )?;
            for own in receipts {
                let values = params![
                    target,
                    own.slot,
                    own.content.as_bytes(),
                    own.receipt,
                    own.at
                ];
                if newest.execute(values)? == 0 {
                    insert.execute(values)?;
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Effects that a crash or a doubt left unconfirmed, oldest first.
    pub fn unsettled(&self) -> Result<Vec<Effect>, StoreError> {
        let connection = lock(&self.connection);
        let mut select = connection.prepare_cached(
            "SELECT id, target, slot, content, state, receipt FROM effect e
             WHERE state IN ('intent', 'sent') AND NOT EXISTS (SELECT 1 FROM effect n
             WHERE n.target = e.target AND n.slot = e.slot AND n.id > e.id) ORDER BY id",
        )?;
        let rows = select.query_map([], effect)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn effect(row: &rusqlite::Row<'_>) -> rusqlite::Result<Effect> {
    Ok(Effect {
        id: row.get(0)?,
        target: row.get(1)?,
        slot: row.get(2)?,
        content: digest(row.get_ref(3)?.as_blob()?),
        state: EffectState::named(row.get_ref(4)?.as_str()?),
        receipt: row.get(5)?,
    })
}

/// What is no digest equals none.
fn digest(bytes: &[u8]) -> Digest {
    Digest::from_slice(bytes).unwrap_or(Digest::from_array([0; 32]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_move_on_and_survive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/ledger.db");
        let content = Digest::of(b"x");
        let ledger = Ledger::open(&path, None).unwrap();
        let id = ledger.intend("t", "a@1", &content, 1).unwrap();
        ledger.advance(id, EffectState::Sent, None, 2).unwrap();
        drop(ledger);
        let ledger = Ledger::open(&path, None).unwrap();
        assert_eq!(ledger.unsettled().unwrap()[0].state, EffectState::Sent);
        ledger
            .advance(id, EffectState::Confirmed, Some("7"), 3)
            .unwrap();
        let last = ledger.last("t", "a@1").unwrap().unwrap();
        assert_eq!(
            (last.state, last.receipt.as_deref()),
            (EffectState::Confirmed, Some("7"))
        );
        assert!(ledger.unsettled().unwrap().is_empty());
        assert!(ledger.last("t", "a@2").unwrap().is_none());
    }

    #[test]
    fn receipts_are_of_the_newest_effect_and_are_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&folder.path().join("ledger.db"), None).unwrap();
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let id = ledger.intend("t", "a 1", &one, 1).unwrap();
        ledger
            .advance(id, EffectState::Confirmed, Some("7"), 2)
            .unwrap();
        let receipt = |content, receipt: &str, at| Receipt {
            slot: "a 1".to_owned(),
            content,
            receipt: receipt.to_owned(),
            at,
        };
        assert_eq!(ledger.receipts("t").unwrap(), [receipt(one, "7", 2)]);
        assert!(ledger.receipts("other").unwrap().is_empty());
        ledger.renew("t", &[receipt(one, "7", 9)]).unwrap();
        assert_eq!(ledger.receipts("t").unwrap(), [receipt(one, "7", 9)]);
        assert_eq!(ledger.last("t", "a 1").unwrap().unwrap().id, id);
        // Another content there is another effect.
        ledger.renew("t", &[receipt(two, "8", 10)]).unwrap();
        assert_eq!(ledger.receipts("t").unwrap(), [receipt(two, "8", 10)]);
        // An effect that is under way leaves no receipt.
        ledger.intend("t", "a 1", &one, 11).unwrap();
        assert!(ledger.receipts("t").unwrap().is_empty());
    }
}
