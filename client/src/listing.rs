//! Long answers page by page, as streams of constant memory: while one page is taken the next is on its way.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, unfold};
use gfs_types::ids::FileId;
use gfs_types::limits::LIST_PAGE_MAX;
use gfs_types::message::client::{Entry, Query, Request, Response, TrashEntry};
use gfs_types::path::GfsPath;
use tokio::task::JoinSet;

use crate::engine::{Engine, defect};
use crate::error::{Error, Result};

/// Entries, and whether there are more behind them.
type Page<T> = (Vec<T>, bool);

/// Asks for the page behind an entry; for the first one without it.
type Ask<T, A> = Box<dyn Fn(Option<A>) -> BoxFuture<'static, Result<Page<T>>> + Send>;

/// Pages one after the other.
struct Pages<T, A> {
    ask: Ask<T, A>,
    /// What the page behind an entry is asked with.
    key: fn(&T) -> A,
    /// The first page is asked for when somebody wants an entry, not before.
    begun: bool,
    ready: VecDeque<T>,
    /// The next page, asked for by a task of its own; nobody asks any more when this is dropped.
    coming: JoinSet<Result<Page<T>>>,
}

impl<T: Send + 'static, A: Send + 'static> Pages<T, A> {
    fn stream(
        ask: impl Fn(Option<A>) -> BoxFuture<'static, Result<Page<T>>> + Send + 'static,
        key: fn(&T) -> A,
    ) -> BoxStream<'static, Result<T>> {
        let (ready, coming) = (VecDeque::new(), JoinSet::new());
        let pages = Self { ask: Box::new(ask), key, begun: false, ready, coming };
        Box::pin(unfold(pages, |mut pages| async move {
            pages.next().await.map(|entry| (entry, pages))
        }))
    }

    async fn next(&mut self) -> Option<Result<T>> {
        if !std::mem::replace(&mut self.begun, true) {
            self.coming.spawn((self.ask)(None));
        }
        while self.ready.is_empty() {
            let broken = |error| Error::Defect {
                doing: "ask for a page".to_owned(),
                reason: format!("the task broke: {error}"),
            };
            match self.coming.join_next().await?.map_err(broken).flatten() {
                Ok(page) => self.take(page),
                Err(error) => return Some(Err(error)),
            }
        }
        self.ready.pop_front().map(Ok)
    }

    fn take(&mut self, (entries, more): Page<T>) {
        // A page without entries has nothing to go on from.
        if let Some(last) = entries.last().filter(|_| more) {
            self.coming.spawn((self.ask)(Some((self.key)(last))));
        }
        self.ready = entries.into();
    }
}

/// The entries of a directory, in byte order of the names.
pub(crate) fn directory(engine: Arc<Engine>, path: GfsPath) -> BoxStream<'static, Result<Entry>> {
    let ask = move |after| -> BoxFuture<'static, _> {
        Box::pin(directory_page(Arc::clone(&engine), path.clone(), after))
    };
    Pages::stream(ask, |entry: &Entry| entry.path.clone())
}

async fn directory_page(
    engine: Arc<Engine>,
    path: GfsPath,
    after: Option<String>,
) -> Result<Page<Entry>> {
    let doing = fmt::from_fn(|f| write!(f, "list `{path}`"));
    let query = Query::List { path: path.to_string(), after, limit: LIST_PAGE_MAX };
    let deadline = engine.deadline();
    match engine.question(&doing, Request::Query(query), deadline).await? {
        Response::Page { entries, more } => Ok((entries, more)),
        other => defect(&doing, &other),
    }
}

/// Everything in the trash, oldest first.
pub(crate) fn trash(engine: Arc<Engine>) -> BoxStream<'static, Result<TrashEntry>> {
    let ask =
        move |after| -> BoxFuture<'static, _> { Box::pin(trash_page(Arc::clone(&engine), after)) };
    Pages::stream(ask, |entry: &TrashEntry| entry.id)
}

async fn trash_page(engine: Arc<Engine>, after: Option<FileId>) -> Result<Page<TrashEntry>> {
    let doing = "list the trash";
    let query = Query::Trash { after, limit: LIST_PAGE_MAX };
    let deadline = engine.deadline();
    match engine.question(&doing, Request::Query(query), deadline).await? {
        Response::Trash { entries, more } => Ok((entries, more)),
        other => defect(&doing, &other),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures::StreamExt;

    use super::*;

    /// The numbers below `end` in pages of three, and how many pages were asked for.
    fn numbers(end: u64) -> (BoxStream<'static, Result<u64>>, Arc<AtomicU64>) {
        let asked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&asked);
        let ask = move |after: Option<u64>| -> BoxFuture<'static, _> {
            count.fetch_add(1, Ordering::Relaxed);
            let first = after.map_or(0, |after| after + 1);
            let page: Vec<_> = (first..end).take(3).collect();
            let more = first + 3 < end;
            Box::pin(async move { Ok((page, more)) })
        };
        (Pages::stream(ask, |number| *number), asked)
    }

    #[tokio::test]
    async fn every_entry_comes_once_and_in_order() {
        for end in [0, 1, 3, 4, 9, 10] {
            let all: Vec<_> = numbers(end).0.map(|number| number.unwrap()).collect().await;
            assert_eq!(all, (0..end).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn one_page_is_asked_for_ahead_and_none_before_the_first_is_wanted() {
        let (mut stream, asked) = numbers(100);
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        for (taken, pages) in [(0, 2), (1, 2), (2, 2), (3, 3)] {
            assert_eq!(stream.next().await.unwrap().unwrap(), taken);
            assert_eq!(asked.load(Ordering::Relaxed), pages);
        }
    }

    #[tokio::test]
    async fn an_error_is_told_and_is_the_end() {
        let ask = |after: Option<u64>| -> BoxFuture<'static, Result<Page<u64>>> {
            Box::pin(async move {
                match after {
                    None => Ok((vec![1], true)),
                    Some(_) => defect(&"list", &"an odd answer"),
                }
            })
        };
        let mut stream = Pages::stream(ask, |number: &u64| *number);
        assert!(stream.next().await.unwrap().is_ok());
        assert!(stream.next().await.unwrap().is_err());
        assert!(stream.next().await.is_none());
    }
}
