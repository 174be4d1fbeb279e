//! `/livez`, `/readyz` and `/metrics` of every server.

use std::future::Future;
use std::io;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::net::TcpListener;

use crate::health::Health;
use crate::process::ProcessCollector;

#[derive(Clone)]
struct Shared {
    health: Health,
    registry: Registry,
}

/// A registry that already tells of the process.
///
/// # Errors
/// Never in practice: the names are constant and valid.
pub fn registry() -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::new()?))?;
    Ok(registry)
}

/// Serves until `shutdown` is ready.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    registry: Registry,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let app = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Shared { health, registry });
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await
}

async fn livez(State(shared): State<Shared>) -> Response {
    unless("not live", shared.health.death())
}

async fn readyz(State(shared): State<Shared>) -> Response {
    unless("not ready", shared.health.reason())
}

fn unless(trouble: &str, reason: Option<String>) -> Response {
    match reason {
        None => "ok\n".into_response(),
        Some(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}: {reason}\n")).into_response()
        }
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&shared.registry.gather(), &mut text) {
        Ok(()) => {
            ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn get(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn readiness_follows_the_server() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let health = Health::starting();
        let server = tokio::spawn(serve(
            listener,
            health.clone(),
            registry().unwrap(),
            std::future::pending(),
        ));
        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
        let starting = get(address, "/readyz").await;
        assert!(starting.starts_with("HTTP/1.1 503") && starting.contains("starting"));
        health.ready();
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/metrics").await.contains("process_cpu_seconds_total"));
        server.abort();
    }

    #[tokio::test]
    async fn a_server_may_say_that_it_is_dead() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let health = Health::starting().lives_unless(|| Some("a thread is gone".to_owned()));
        let registry = registry().unwrap();
        let server = tokio::spawn(serve(listener, health, registry, std::future::pending()));
        let dead = get(address, "/livez").await;
        assert!(dead.starts_with("HTTP/1.1 503") && dead.contains("a thread is gone"));
        server.abort();
    }
}
