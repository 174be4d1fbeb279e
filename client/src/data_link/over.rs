//! The task behind one connection where a [`Network`] stands for sockets.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use super::verify::Check;
use super::{Answer, Call, Key, connection};
use crate::network::{Broken, DataAnswer, DataCall, Network};
use crate::retry::Failure;

/// Hands calls on as they come, until the client ends.
pub(super) async fn run(network: Arc<dyn Network>, key: Key, mut calls: mpsc::Receiver<Call>) {
    while let Some(call) = calls.recv().await {
        if call.reply.is_closed() {
            continue;
        }
        let target = connection::target(&call);
        let Call { request, payload, checksums, sent, reply, .. } = call;
        let (chunkserver, address, lane) = (key.chunkserver, key.address.clone(), key.lane as u8);
        let call = DataCall { chunkserver, address, lane, target, request, payload, checksums };
        sent.store(true, Ordering::Relaxed);
        let exchange = network.ask(call);
        let key = key.clone();
        tokio::spawn(async move {
            let result = exchange.await.map_err(|broken| failure(&key, broken)).and_then(verified);
            // The caller may have given up meanwhile.
            let _ = reply.send(result);
        });
    }
}

fn verified(answer: DataAnswer) -> Result<Answer, Failure> {
    let DataAnswer { result, payload, checksums } = answer;
    let mut check = Check::new(&result, payload.len(), &checksums);
    check.look(&payload);
    let good = check.end();
    connection::answer(result, payload, good)
}

fn failure(key: &Key, broken: Broken) -> Failure {
    let who = format!("chunkserver {} at {}", key.chunkserver, key.address);
    match broken {
        Broken::NotSent => Failure::Unreachable(format!("{who}: no connection")),
        Broken::Lost => Failure::Lost(format!("{who}: the connection ended")),
    }
}
