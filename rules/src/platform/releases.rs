//! Owns releases as a platform has them: finding one, listing them, their content.

use std::{fs::File, io::Write};

use serde_json::Value;
use synapse_engine::Digest;

use super::{
    Feature, Platform, PlatformError,
    call::{part, value as query},
};
use crate::{
    archive,
    client::{Backend, ClientError, Release, Slot, Upload, Watch},
    http::WireError,
    target::same_slot,
};

/// Key in a release's config under which its content digest is sent and kept.
pub(super) const CONTENT_KEY: &str = "synapse_content_digest";

impl Backend for Platform {
    fn identity(&self) -> String {
        Platform::identity(self).to_owned()
    }

    fn releases(&self, code: &str) -> Result<Vec<Release>, ClientError> {
        let path = format!("plugin_releases/?plugin={}", query(code));
        self.listed(&path, Some(code))
            .map_err(PlatformError::of_read)
    }

    fn find(&self, slot: &Slot) -> Result<Option<Release>, ClientError> {
        self.in_slot(slot).map_err(PlatformError::of_read)
    }

    fn content(&self, release: &Release) -> Result<Digest, ClientError> {
        if let Some(content) = release.content {
            return Ok(content);
        }
        self.fetched_content(release)
            .map_err(PlatformError::of_read)
    }

    fn all(&self) -> Result<Vec<Release>, ClientError> {
        self.listed("plugin_releases/", None)
            .map_err(PlatformError::of_read)
    }

    fn create(&self, upload: &Upload<'_>) -> Result<Release, ClientError> {
        self.send(upload, &crate::client::Unwatched)
    }

    fn send(&self, upload: &Upload<'_>, watch: &dyn Watch) -> Result<Release, ClientError> {
        super::send::send(self, upload, watch)
    }
}

impl Platform {
    fn listed(&self, path: &str, code: Option<&str>) -> Result<Vec<Release>, PlatformError> {
        let list = self.list(path)?;
        let mut releases = list
            .iter()
            .map(|value| self.release(value, code))
            .collect::<Result<Vec<_>, _>>()?;
        // A server that does not know the filter lists everything.
        releases.retain(|release| code.is_none_or(|code| release.slot.code == code));
        releases.sort_by_key(|release| release.created);
        Ok(releases)
    }

    fn in_slot(&self, slot: &Slot) -> Result<Option<Release>, PlatformError> {
        let Slot {
            code,
            variant,
            version,
            debug,
        } = slot;
        let variant = variant.as_ref().map(|variant| format!("+{variant}"));
        let path = format!(
            "plugin_releases/{}/?debug={debug}",
            part(&format!(
                "{code}@{version}{}",
                variant.as_deref().unwrap_or_default()
            ))
        );
        let found = match self.get(&path) {
            Ok(value) => Some(self.release(&value, Some(code))?),
            Err(PlatformError::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        let found = found.filter(|release| same_slot(&release.slot, slot));
        // Not every server knows variants and debug releases in that address.
        if found.is_some() || (!debug && variant.is_none()) || self.can(Feature::ChunkedRelease)? {
            return Ok(found);
        }
        let all = self.listed(
            &format!("plugin_releases/?plugin={}", query(code)),
            Some(code),
        )?;
        Ok(all
            .into_iter()
            .rev()
            .find(|release| same_slot(&release.slot, slot)))
    }

    /// Reads a release. `code` is that of the plugin where the platform names it otherwise.
    pub(crate) fn release(
        &self,
        value: &Value,
        code: Option<&str>,
    ) -> Result<Release, PlatformError> {
        let garbled = |what: &str| {
            PlatformError::Wire(WireError::Garbled {
                host: self.host().to_owned(),
                what: format!("a release has {what}"),
            })
        };
        let id = match &value["id"] {
            Value::String(id) => id.clone(),
            Value::Number(id) => id.to_string(),
            _ => return Err(garbled("no id")),
        };
        let text = |value: &Value| {
            value
                .as_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        // A configuration may come as the text it was sent as.
        let parsed;
        let config = match &value["config"] {
            Value::String(text) => {
                parsed = serde_json::from_str(text).unwrap_or(Value::Null);
                &parsed
            }
            config => config,
        };
        let own = text(&value["plugin"])
            .or_else(|| text(&value["plugin"]["code"]))
            .filter(|own| code.is_none() || own.parse::<u64>().is_err());
        let slot = Slot {
            code: own
                .or_else(|| code.map(str::to_owned))
                .or_else(|| text(&config["code"]))
                .ok_or_else(|| garbled("no plugin"))?,
            variant: text(&value["variant"]).or_else(|| text(&config["variant"])),
            version: text(&value["version"]).ok_or_else(|| garbled("no version"))?,
            debug: value["debug"].as_bool().unwrap_or(false),
        };
        let content = config[CONTENT_KEY].as_str();
        let checksum = text(&value["checksum"]).map(|sum| sum.to_ascii_lowercase());
        let url = text(&value["file"]);
        Ok(Release {
            url: url.unwrap_or_else(|| {
                let path = format!("plugin_releases/{id}/");
                self.address.join(&path).to_string()
            }),
            id,
            slot,
            content: content.and_then(|hex| hex.parse().ok()),
            md5: checksum.filter(|sum| sum.len() == 32),
            size: value["size"].as_u64(),
            created: text(&value["created"])
                .and_then(|time| time.parse::<jiff::Timestamp>().ok())
                .map_or(0, jiff::Timestamp::as_second),
        })
    }

    /// The content digest of a release that was sent without one: of its archive, entry by entry.
    fn fetched_content(&self, release: &Release) -> Result<Digest, PlatformError> {
        let failed = |error: &dyn std::fmt::Display| {
            PlatformError::Wire(WireError::Source(format!(
                "the archive of {} {}: {error}",
                release.slot.code, release.slot.version
            )))
        };
        let mut file = tempfile::NamedTempFile::new().map_err(|error| failed(&error))?;
        let mut written = Ok(());
        self.download(&release.url, &mut |piece| {
            written = file.write_all(piece);
            written.is_ok()
        })?;
        written
            .and_then(|()| file.as_file().sync_data())
            .map_err(|error| failed(&error))?;
        // An archive that cannot be read equals none of ours.
        let whole = File::open(file.path()).is_ok();
        match archive::read::content(file.path()) {
            Ok(content) => Ok(content),
            Err(_) if whole => Ok(Digest::of(b"an archive that cannot be read")),
            Err(error) => Err(failed(&error)),
        }
    }
}
