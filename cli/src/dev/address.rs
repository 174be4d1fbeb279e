//! Where the master of a cluster listens.

use super::config;
use crate::failure::{Failure, Result};

/// Where the master of a new cluster listens.
const LISTEN_DEFAULT: &str = "127.0.0.1:7400";

/// Where the master shall listen. What was asked for is taken or refused; what was there before is kept if it can
/// be; `may_move` when nobody but our own COMMAND needs to know.
pub(super) fn master_address(
    asked: Option<&str>,
    known: Option<&str>,
    may_move: bool,
) -> Result<String> {
    let asked_for_any = asked.is_some_and(|address| address.ends_with(":0"));
    let (wanted, may_move) = match (asked, known) {
        (Some(_), Some(known)) if asked_for_any => (known, true),
        (Some(asked), _) => (asked, false),
        (None, Some(known)) => (known, may_move),
        (None, None) => (LISTEN_DEFAULT, may_move),
    };
    if may_move {
        return Ok(config::free_or_any(wanted));
    }
    if config::is_free(wanted) {
        return Ok(wanted.to_owned());
    }
    Err(Failure::new(format!(
        "cannot listen at {wanted}: it is in use or not of this machine; end what listens there, or take a free \
         port with --listen 127.0.0.1:0"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_master_listens_where_it_was_told_or_where_it_was() {
        let taken = TcpListener::bind(config::ANY_PORT).unwrap();
        let in_use = taken.local_addr().unwrap().to_string();
        let free = {
            let listener = TcpListener::bind(config::ANY_PORT).unwrap();
            listener.local_addr().unwrap().to_string()
        };
        let address = |asked, known, may_move| master_address(asked, known, may_move);
        assert_eq!(address(Some(&*free), Some(&*in_use), false), Ok(free.clone()));
        assert_eq!(address(None, Some(&*free), false), Ok(free.clone()));
        assert_eq!(address(Some("127.0.0.1:0"), Some(&*free), false), Ok(free.clone()));
        let any = Ok(config::ANY_PORT.to_owned());
        assert_eq!(address(Some("127.0.0.1:0"), Some(&*in_use), false), any);
        assert_eq!(address(None, Some(&*in_use), true), any);
        assert!(address(Some(&*in_use), None, true).is_err());
        assert!(address(None, Some(&*in_use), false).unwrap_err().message.contains("--listen"));
    }
}
