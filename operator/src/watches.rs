//! When each watch was last answered: a watch that nobody answers any more looks like a cluster in which nothing happens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use tower::{Layer, Service};

use crate::metrics::Metrics;

/// The server ends each watch after 290 s and it is begun anew: without an answer for twice as long, it is dead.
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// Kept up to date by [`Listening`], which sits between the client and the network.
#[derive(Clone)]
pub struct Watches {
    metrics: Metrics,
    answered: Arc<Mutex<BTreeMap<String, Instant>>>,
}

impl Watches {
    /// None is expected yet.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, answered: Arc::default() }
    }

    /// From now on these kinds are watched.
    pub fn expect(&self, kinds: &[&str]) {
        let now = Instant::now();
        self.with(|answered| answered.extend(kinds.iter().map(|kind| ((*kind).to_owned(), now))));
    }

    /// From now on none is.
    pub fn expect_none(&self) {
        self.with(BTreeMap::clear);
    }

    /// Why this process should be started anew, if it should.
    #[must_use]
    pub fn silence(&self) -> Option<String> {
        self.silence_at(Instant::now())
    }

    fn silence_at(&self, now: Instant) -> Option<String> {
        self.with(|answered| {
            let (kind, at) = answered.iter().min_by_key(|(_, at)| **at)?;
            let silent = now.saturating_duration_since(*at);
            let text = || format!("no watch of {kind} was answered for {} s", silent.as_secs());
            (silent > SILENCE_MAX).then(text)
        })
    }

    fn answered(&self, kind: &str) {
        self.metrics.heard(kind);
        self.with(|answered| {
            if let Some(at) = answered.get_mut(kind) {
                *at = Instant::now();
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Instant>) -> T) -> T {
        act(&mut self.answered.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S> Layer<S> for Watches {
    type Service = Listening<S>;

    fn layer(&self, inner: S) -> Listening<S> {
        Listening { inner, watches: self.clone() }
    }
}

/// A service that hears which watches are answered.
#[derive(Clone)]
pub struct Listening<S> {
    inner: S,
    watches: Watches,
}

impl<S, In, Out> Service<Request<In>> for Listening<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
    S::Error: Send,
{
    type Response = Response<Out>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Out>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let kind = watched(&request);
        let (response, watches) = (self.inner.call(request), self.watches.clone());
        Box::pin(async move {
            let response = response.await?;
            if let Some(kind) = kind.filter(|_| response.status().is_success()) {
                watches.answered(&kind);
            }
            Ok(response)
        })
    }
}

/// The kind that a request watches.
fn watched<B>(request: &Request<B>) -> Option<String> {
    let is_watch = request.uri().query()?.split('&').any(|word| word == "watch=true");
    let kind = request.uri().path().rsplit('/').next()?;
    (is_watch && request.method() == Method::GET).then(|| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watches() -> Watches {
        Watches::new(Metrics::new(&prometheus::Registry::new()).unwrap())
    }

    #[test]
    fn requests_that_watch_are_told_by_their_query() {
        let of = |uri: &str| watched(&Request::get(uri).body(()).unwrap());
        let pods = "/api/v1/namespaces/a/pods";
        assert_eq!(of(&format!("{pods}?&watch=true&timeoutSeconds=290")).as_deref(), Some("pods"));
        assert_eq!(of(pods), None);
        assert_eq!(of(&format!("{pods}?limit=500")), None);
    }

    #[tokio::test]
    async fn an_answer_ends_the_silence_and_a_refusal_does_not() {
        let watches = watches();
        watches.expect(&["pods", "services"]);
        let late = || Instant::now() + SILENCE_MAX + Duration::from_millis(1);
        let before = late();
        assert_eq!(watches.silence(), None);
        let told = watches.silence_at(before).unwrap();
        assert!(told.contains("pods"), "{told}");
        for (kind, status) in [("pods", 200), ("services", 403)] {
            let inner = tower::service_fn(move |_| async move {
                Ok::<_, std::convert::Infallible>(
                    Response::builder().status(status).body(()).unwrap(),
                )
            });
            let request = Request::get(format!("/api/v1/{kind}?watch=true")).body(()).unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
            watches.layer(inner).call(request).await.unwrap();
        }
        let told = watches.silence_at(before).unwrap();
        assert!(told.contains("services"), "{told}");
        watches.expect_none();
        assert_eq!(watches.silence_at(late()), None);
    }
}
