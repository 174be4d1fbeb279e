//! A file that appears whole or not at all.

use bytes::Bytes;
use gfs_types::ErrorKind;
use gfs_types::message::client::{Attributes, Entry, EntryKind};
use gfs_types::path::{GfsPath, UPLOAD_DIR};

use crate::client::Client;
use crate::error::{Error, Result};
use crate::options::{CreateOptions, DeleteOptions, UploadOptions};
use crate::random;
use crate::writer::Writer;

/// Writes under a temporary name below `/.gfs/tmp` and renames at the end. Dropped or killed before, nothing stands
/// under the final name; the rest is collected by the system after a day.
#[derive(Debug)]
pub struct Upload {
    client: Client,
    path: GfsPath,
    temporary: String,
    options: UploadOptions,
    writer: Writer,
}

impl Upload {
    /// Looks first whether the end can succeed: nobody wants to hear of a missing directory after an hour.
    pub(crate) async fn begin(
        client: Client,
        path: GfsPath,
        options: UploadOptions,
    ) -> Result<Self> {
        check_place(&client, &path, options.replace).await?;
        let [high, low] = random::numbers()?;
        let temporary = format!("{UPLOAD_DIR}/{high:016x}{low:016x}");
        let UploadOptions { replication, attributes, length, .. } = options;
        let create = CreateOptions { replication, attributes };
        let file = match client.create(&temporary, create).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                client.mkdir(UPLOAD_DIR, true).await?;
                client.create(&temporary, create).await?
            }
            other => other?,
        };
        let writer = match length {
            Some(length) => file.writer(0).expect(length),
            None => file.writer(0),
        };
        Ok(Self { client, path, temporary, options, writer })
    }

    /// Takes the next bytes. Not cancel safe, as [`Writer::write`].
    ///
    /// # Errors
    /// As [`Writer::write`]; `Invalid` when it is more than the length that was promised.
    pub async fn write(&mut self, data: impl Into<Bytes>) -> Result<()> {
        let data = data.into();
        let end = self.writer.offset().saturating_add(data.len() as u64);
        if self.options.length.is_some_and(|promised| end > promised) {
            return Err(self.wrong_length(end));
        }
        self.writer.write(data).await
    }

    /// Other attributes than those of the options, if they became known only now.
    pub fn set_attributes(&mut self, attributes: Attributes) {
        self.options.attributes = attributes;
    }

    /// Flushes, has everything on disk on every replica, and renames onto the final path.
    ///
    /// Dropped, the file may still appear, whole.
    ///
    /// # Errors
    /// As [`Writer::close`] and [`Client::rename`]; `Invalid` when it is less than the length that was promised.
    pub async fn finish(self) -> Result<Entry> {
        let length = self.writer.offset();
        if self.options.length.is_some_and(|promised| length != promised) {
            return Err(self.wrong_length(length));
        }
        self.writer.close_with(Some(self.options.attributes)).await?;
        self.client.rename(&self.temporary, self.path.as_str(), self.options.replace).await
    }

    /// Removes what was written.
    ///
    /// # Errors
    /// When it cannot be removed now; the system collects it after a day all the same.
    pub async fn abort(self) -> Result<()> {
        drop(self.writer);
        let options = DeleteOptions { recursive: false, purge: true };
        self.client.delete(&self.temporary, options).await
    }

    fn wrong_length(&self, found: u64) -> Error {
        let promised = self.options.length.unwrap_or(0);
        let reason = format!("{promised} bytes were promised, {found} came");
        Error::Unfit { doing: format!("upload `{}`", self.path), reason }
    }
}

/// Whether a file may get this name.
async fn check_place(client: &Client, path: &GfsPath, replace: bool) -> Result<()> {
    let doing = format!("upload `{path}`");
    let refuse = |error| Err(Error::Refused { doing: doing.clone(), error });
    let Some(parent) = path.parent() else {
        return refuse(gfs_types::Error::already_exists("`/` is a directory"));
    };
    match client.entry(path, &doing).await {
        Ok(entry) if entry.kind == EntryKind::Directory => {
            refuse(gfs_types::Error::already_exists(format!("`{path}` is a directory")))
        }
        Ok(_) if !replace => {
            refuse(gfs_types::Error::already_exists(format!("`{path}` exists already")))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Err(_) => match client.entry(&parent, &doing).await?.kind {
            EntryKind::Directory => Ok(()),
            EntryKind::File => {
                refuse(gfs_types::Error::invalid(format!("`{parent}` is a file, not a directory")))
            }
        },
    }
}
