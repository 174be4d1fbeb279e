//! Long answers page by page, as streams of constant memory.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream::{BoxStream, unfold};
use gfs_types::ids::FileId;
use gfs_types::limits::LIST_PAGE_MAX;
use gfs_types::message::client::{Entry, Query, Request, Response, TrashEntry};
use gfs_types::path::GfsPath;

use crate::engine::{Engine, defect};
use crate::error::Result;

/// What stands between two pages.
struct Pages<T, A> {
    engine: Arc<Engine>,
    ready: VecDeque<T>,
    after: Option<A>,
    more: bool,
}

impl<T, A> Pages<T, A> {
    fn new(engine: Arc<Engine>) -> Self {
        Self { engine, ready: VecDeque::new(), after: None, more: true }
    }
}

/// The entries of a directory, in byte order of the names.
pub(crate) fn directory(engine: Arc<Engine>, path: GfsPath) -> BoxStream<'static, Result<Entry>> {
    let pages: Pages<Entry, String> = Pages::new(engine);
    Box::pin(unfold((pages, path), |(mut pages, path)| async move {
        while pages.ready.is_empty() && pages.more {
            if let Err(error) = directory_page(&mut pages, &path).await {
                pages.more = false;
                return Some((Err(error), (pages, path)));
            }
        }
        let entry = pages.ready.pop_front()?;
        Some((Ok(entry), (pages, path)))
    }))
}

async fn directory_page(pages: &mut Pages<Entry, String>, path: &GfsPath) -> Result<()> {
    let doing = format!("list `{path}`");
    let after = pages.after.clone();
    let query = Query::List { path: path.to_string(), after, limit: LIST_PAGE_MAX };
    let deadline = pages.engine.deadline();
    match pages.engine.question(&doing, Request::Query(query), deadline).await? {
        Response::Page { entries, more } => {
            pages.after = entries.last().map(|entry| entry.path.clone());
            // A page without entries has nothing to go on from.
            pages.more = more && pages.after.is_some();
            pages.ready = entries.into();
            Ok(())
        }
        other => defect(&doing, &other),
    }
}

/// Everything in the trash, oldest first.
pub(crate) fn trash(engine: Arc<Engine>) -> BoxStream<'static, Result<TrashEntry>> {
    let pages: Pages<TrashEntry, FileId> = Pages::new(engine);
    Box::pin(unfold(pages, |mut pages| async move {
        while pages.ready.is_empty() && pages.more {
            if let Err(error) = trash_page(&mut pages).await {
                pages.more = false;
                return Some((Err(error), pages));
            }
        }
        let entry = pages.ready.pop_front()?;
        Some((Ok(entry), pages))
    }))
}

async fn trash_page(pages: &mut Pages<TrashEntry, FileId>) -> Result<()> {
    let doing = "list the trash";
    let query = Query::Trash { after: pages.after, limit: LIST_PAGE_MAX };
    let deadline = pages.engine.deadline();
    match pages.engine.question(doing, Request::Query(query), deadline).await? {
        Response::Trash { entries, more } => {
            pages.after = entries.last().map(|entry| entry.id);
            pages.more = more && pages.after.is_some();
            pages.ready = entries.into();
            Ok(())
        }
        other => defect(doing, &other),
    }
}
