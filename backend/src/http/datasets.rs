//! Owns `/ground_truth_dataset_versions/` and `/ground_truths/`: datasets and their files.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde_json::{Map, Value, json};

use super::download::Download;
use super::paging::Query;
use super::reply::{Part, Problem, Reply, moment, ok};
use super::{Inner, Shared};
use crate::dataset::{Dataset, Item};
use crate::files::percent_encode;
use crate::page::Page;

/// `GET /ground_truth_dataset_versions/`.
pub(crate) async fn list(State(shared): State<Shared>, uri: Uri) -> Reply {
    let query = Query::of(&uri)?;
    let (limit, offset) = query.window()?;
    let all = shared.work(|backend| backend.datasets()).await?;
    let total = all.len() as u64;
    let some = all.iter().skip(offset as usize).take(limit as usize);
    let items = some.map(object).collect();
    ok(&query.page(&shared, Page { items, total })?)
}

/// `GET /ground_truth_dataset_versions/{id}/`.
pub(crate) async fn get(State(shared): State<Shared>, id: Part) -> Reply {
    let id = id.number()?;
    let dataset = shared.work(move |backend| backend.dataset(id)).await?;
    ok(&object(&dataset))
}

/// `GET /ground_truths/?ground_truth_dataset_versions=ID`.
pub(crate) async fn items(State(shared): State<Shared>, uri: Uri) -> Reply {
    let query = Query::of(&uri)?;
    let (limit, offset) = query.window()?;
    let name = "ground_truth_dataset_versions";
    let id: Option<i64> = query.number(name)?;
    let id = id.ok_or_else(|| Problem::field(name, "This field is required."))?;
    let split = query.get("split").map(str::to_owned);
    let page = shared
        .work(move |backend| backend.dataset_items(id, split.as_deref(), limit, offset))
        .await?;
    ok(&query.page(&shared, page.map(|item| item_object(&shared, &item)))?)
}

/// `GET /files/datasets/{item}/{name}`.
pub(crate) async fn file(State(shared): State<Shared>, id: Part, headers: HeaderMap) -> Reply {
    let id = id.number()?;
    let (item, file) = shared.work(move |backend| backend.dataset_open(id)).await?;
    let name = item.path.rsplit('/').next().unwrap_or_default().to_owned();
    Download {
        file,
        size: item.size,
        sha256: item.sha256,
        name,
    }
    .reply(&headers)
}

fn object(dataset: &Dataset) -> Value {
    let splits = dataset.splits.iter();
    let splits: Map<String, Value> = splits
        .map(|(name, count)| (name.clone(), Value::from(*count)))
        .collect();
    json!({
        "id": dataset.id,
        "name": dataset.name,
        "format": dataset.format,
        "count": dataset.count,
        "size": dataset.size,
        "checksum": dataset.checksum,
        "splits": splits,
        "created": moment(dataset.created),
    })
}

fn item_object(shared: &Inner, item: &Item) -> Value {
    let mut file = format!("{}/files/datasets/{}/", shared.url, item.id);
    percent_encode(item.path.as_bytes(), &mut file);
    json!({
        "id": item.id,
        "name": item.path,
        "split": item.split,
        "file": file,
        "checksum": item.sha256,
        "size": item.size,
    })
}
