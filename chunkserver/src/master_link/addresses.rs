//! Where the masters are: asked anew at every attempt, because addresses change.

use std::net::SocketAddr;

/// Every address of every name, in the order they were given, each once.
pub(super) async fn resolve(masters: &[String]) -> Vec<SocketAddr> {
    let mut all = Vec::new();
    for name in masters {
        match tokio::net::lookup_host(name.as_str()).await {
            Ok(found) => {
                for address in found {
                    if !all.contains(&address) {
                        all.push(address);
                    }
                }
            }
            Err(error) => tracing::warn!(master = name, %error, "a master's name does not resolve"),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_address_is_there_once_and_a_bad_name_does_no_harm() {
        let names = ["127.0.0.1:1", "[::1]:2", "no-port", "127.0.0.1:1"].map(str::to_owned);
        let expected: Vec<SocketAddr> =
            vec!["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()];
        assert_eq!(resolve(&names).await, expected);
    }
}
