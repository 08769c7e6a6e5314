//! Owns `/plugin_releases/`.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde_json::{Value, json};
use synapse_rules::client::{Backend, Release};

use super::download::Download;
use super::paging::Query;
use super::reply::{Part, Problem, Reply, moment, ok};
use super::{Inner, Shared};
use crate::Embedded;
use crate::error::BackendError;
use crate::files::percent_encode;
use crate::page::Page;
use crate::release::Details;

/// `GET /plugin_releases/`, all or with `?plugin=CODE`; with `?debug=` only debug releases, or only
/// formal ones.
pub(crate) async fn list(State(shared): State<Shared>, uri: Uri) -> Reply {
    let query = Query::of(&uri)?;
    let (limit, offset) = query.window()?;
    let plugin = query.get("plugin").map(str::to_owned);
    let debug = query.truth("debug")?;
    let page = shared
        .work(move |backend| {
            let mut all = found(match &plugin {
                Some(plugin) => backend.releases(plugin),
                None => backend.all(),
            })?;
            all.retain(|release| debug.is_none_or(|debug| release.slot.debug == debug));
            let total = all.len() as u64;
            let some = all.into_iter().skip(offset as usize).take(limit as usize);
            // One that was replaced since it was listed is left out.
            let items = some.filter_map(|release| backend.release(&release.id).ok());
            Ok(Page {
                items: items.collect(),
                total,
            })
        })
        .await?;
    Ok(ok(&query.page(
        &shared,
        &page.map(|details| object(&shared, &details)),
    )?))
}

/// `GET /plugin_releases/{id or CODE@VERSION}/`. With `?debug=true` the debug release of that code
/// and variant, whatever its version; with `?debug=false` no debug release.
pub(crate) async fn get(State(shared): State<Shared>, Part(id): Part, uri: Uri) -> Reply {
    let debug = Query::of(&uri)?.truth("debug")?;
    let details = shared
        .work(move |backend| details(backend, &id, debug))
        .await?;
    Ok(ok(&object(&shared, &details)))
}

/// `DELETE /plugin_releases/{id or CODE@VERSION}/`.
pub(crate) async fn delete(State(shared): State<Shared>, Part(id): Part) -> Reply {
    shared
        .work(move |backend| {
            let found = details(backend, &id, None)?;
            backend.delete(&found.release.id)
        })
        .await?;
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// `GET /files/releases/{id}/{name}`.
pub(crate) async fn file(
    State(shared): State<Shared>,
    Part(id): Part,
    headers: HeaderMap,
) -> Reply {
    let (details, file) = shared
        .work(move |backend| Ok((backend.release(&id)?, backend.open_archive(&id)?)))
        .await?;
    let size = file.metadata().map(|meta| meta.len());
    let failed = |_| Problem::new(StatusCode::NOT_FOUND, "the archive is gone");
    Ok(Download {
        size: size.map_err(failed)?,
        file,
        sha256: details.sha256.clone(),
        name: name(&details),
    }
    .reply(&headers))
}

/// By id, or by `CODE@VERSION`, with `+VARIANT` where there is one. A formal release comes
/// before a debug one of the same version.
fn details(backend: &Embedded, id: &str, debug: Option<bool>) -> Result<Details, BackendError> {
    let none = || BackendError::NoRelease(id.to_owned());
    let wanted = |release: &Release| debug.is_none_or(|debug| release.slot.debug == debug);
    let Some((code, rest)) = id.split_once('@') else {
        let found = backend.release(id)?;
        return Some(found)
            .filter(|found| wanted(&found.release))
            .ok_or_else(none);
    };
    let (version, variant) = rest
        .split_once('+')
        .map_or((rest, None), |(version, variant)| (version, Some(variant)));
    let all = found(backend.releases(code))?;
    let fits = |release: &&Release| {
        wanted(release)
            && release.slot.variant.as_deref() == variant
            && (debug == Some(true) || release.slot.version == version)
    };
    let best = all
        .iter()
        .filter(fits)
        .min_by_key(|release| release.slot.debug);
    let best = best.ok_or_else(none)?;
    backend.release(&best.id)
}

fn found<T>(answer: Result<T, synapse_rules::client::ClientError>) -> Result<T, BackendError> {
    answer.map_err(|error| BackendError::Database {
        doing: "read",
        reason: error.to_string(),
    })
}

fn name(details: &Details) -> String {
    let slot = &details.release.slot;
    let variant = slot.variant.as_ref().map(|variant| format!("+{variant}"));
    format!(
        "{}-{}{}.zip",
        slot.code,
        slot.version,
        variant.unwrap_or_default()
    )
}

pub(crate) fn object(shared: &Inner, details: &Details) -> Value {
    let release = &details.release;
    let mut file = format!("{}/files/releases/{}/", shared.url, release.id);
    percent_encode(name(details).as_bytes(), &mut file);
    let id = release.id.parse::<i64>();
    json!({
        "id": id.map_or_else(|_| json!(release.id), |id| json!(id)),
        "plugin": release.slot.code,
        "version": release.slot.version,
        "variant": release.slot.variant,
        "debug": release.slot.debug,
        "config": details.config,
        "readme": details.readme,
        "requirements": details.requirements,
        "file": file,
        "checksum": release.md5,
        "size": release.size,
        "created": moment(release.created),
    })
}
