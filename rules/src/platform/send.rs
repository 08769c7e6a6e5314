//! Owns how a release is sent: in one call, or in chunks where it is large and the server takes
//! them; and that what arrived is what was sent.

use reqwest::Method;

use super::{Feature, Platform, PlatformError, chunks::Parcel, releases::CONTENT_KEY};
use crate::{
    client::{ClientError, Release, Upload, Watch},
    http::{Body, FilePart, Form},
};

/// Bytes of one chunk. An archive that is no longer is sent in one call.
pub(super) const CHUNK: u64 = 50_000_000;

/// Sends a release, once.
pub(super) fn send(
    platform: &Platform,
    upload: &Upload<'_>,
    watch: &dyn Watch,
) -> Result<Release, ClientError> {
    let name = format!("{}-{}.zip", upload.slot.code, upload.slot.version);
    // Before the release itself is asked for, nothing can be in doubt.
    let chunked = upload.size > CHUNK
        && platform
            .can(Feature::ChunkedRelease)
            .map_err(PlatformError::of_read)?;
    let id = if chunked {
        let parcel = Parcel {
            path: upload.archive,
            name: &name,
            size: upload.size,
            md5: upload.md5,
        };
        Some(
            platform
                .send_file(&parcel, watch)
                .map_err(PlatformError::of_read)?,
        )
    } else {
        None
    };
    let mut config = upload.config.clone();
    config[CONTENT_KEY] = upload.content.hex().into();
    let mut fields = vec![
        ("plugin", upload.slot.code.clone()),
        ("version", upload.slot.version.clone()),
        ("config", config.to_string()),
        ("debug", upload.slot.debug.to_string()),
    ];
    if let Some(requirements) = upload.requirements {
        fields.push(("requirements", requirements.to_owned()));
    }
    let file = match &id {
        Some(id) => {
            fields.push(("chunked_upload", id.clone()));
            None
        }
        None => Some(FilePart {
            path: upload.archive,
            name: &name,
            begin: 0,
            len: upload.size,
            total: None,
        }),
    };
    let whole = file.is_some();
    let body = Body::Form(Form { fields, file });
    let progress = |bytes: u64| watch.progress(bytes);
    let progress: Option<&dyn Fn(u64)> = whole.then_some(&progress);
    let reply = platform
        .call(&Method::POST, "plugin_releases/", body, false, progress)
        .map_err(PlatformError::of_publish)?;
    watch.progress(upload.size);
    // From here on it may be there: what cannot be read of the reply is asked for.
    let doubt = |error: PlatformError| ClientError::Ambiguous(error.to_string());
    let value = platform.read(&reply).map_err(doubt)?;
    let release = platform
        .release(&value, Some(&upload.slot.code))
        .map_err(doubt)?;
    verified(release, upload)
}

/// The release, if it is made of what was sent.
pub(super) fn verified(release: Release, upload: &Upload<'_>) -> Result<Release, ClientError> {
    match &release.md5 {
        Some(actual) if actual != upload.md5 => Err(ClientError::WrongChecksum {
            expected: upload.md5.to_owned(),
            actual: actual.clone(),
            release: release.id,
        }),
        _ => Ok(release),
    }
}
