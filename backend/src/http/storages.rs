//! Owns `/storages/`: the one storage of this backend, a folder of this machine.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;

use axum::extract::State;
use axum::http::Uri;
use serde_json::{Value, json};

use super::Shared;
use super::paging::Query;
use super::reply::{Part, Problem, Reply, ok};
use crate::Embedded;
use crate::error::BackendError;
use crate::page::Page;

/// The id of the one storage.
const OWN: i64 = 1;
/// The folder of storages, in the data folder: one below it for each tenant.
const FOLDER: &str = "storage";

/// `GET /storages/`.
pub(crate) async fn list(State(shared): State<Shared>, uri: Uri) -> Reply {
    let query = Query::of(&uri)?;
    let (limit, offset) = query.window()?;
    let storage = shared.work(|backend| object(backend)).await?;
    let some = [storage].into_iter().skip(offset as usize);
    let items = some.take(limit as usize).collect();
    Ok(ok(&query.page(&shared, &Page { items, total: 1 })?))
}

/// `GET /storages/{id}/`.
pub(crate) async fn get(State(shared): State<Shared>, id: Part) -> Reply {
    if id.number()? != OWN {
        return Err(Problem::missing());
    }
    let storage = shared.work(|backend| object(backend)).await?;
    Ok(ok(&storage))
}

/// The folder is made when it is first asked for, for its owner only.
fn object(backend: &Embedded) -> Result<Value, BackendError> {
    let folder = backend.dir().join(FOLDER).join(backend.tenant());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|cause| BackendError::io("make", &folder, cause))?;
    Ok(json!({
        "id": OWN,
        "name": "embedded",
        "provider": "file_system",
        "category": "internal",
        "is_default_storage": true,
        "configuration": {"location": folder.to_string_lossy()},
    }))
}
