//! What Kubernetes allows as names and labels.

const LABEL_CHARACTERS_MAX: usize = 63;
const SUBDOMAIN_CHARACTERS_MAX: usize = 253;

/// Whether it is a DNS label: `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, at most 63 characters.
pub(super) fn is_dns_label(text: &str) -> bool {
    text.len() <= LABEL_CHARACTERS_MAX && is_word(text) && !has_capitals(text)
}

/// Whether it can be the name of most objects: words with dots between. Kubernetes does not count the characters of each.
pub(super) fn is_subdomain(text: &str) -> bool {
    text.len() <= SUBDOMAIN_CHARACTERS_MAX && is_host(text) && !has_capitals(text)
}

/// Whether it can be the name of a host, in which capitals mean nothing.
pub(super) fn is_host(text: &str) -> bool {
    text.split('.').all(is_word)
}

fn is_word(text: &str) -> bool {
    let inside = |b: u8| b == b'-' || b.is_ascii_alphanumeric();
    text.bytes().all(inside) && has_ends(text, |b| b != b'-')
}

fn has_capitals(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_uppercase())
}

/// Whether it can be the key of a label: `gfs.rs/domain`, `zone`.
pub(super) fn is_key(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    prefix.is_none_or(is_subdomain) && !name.is_empty() && is_value(name)
}

/// Whether it can be the value of a label.
pub(super) fn is_value(text: &str) -> bool {
    let inside = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    text.is_empty()
        || text.len() <= LABEL_CHARACTERS_MAX
            && text.bytes().all(inside)
            && has_ends(text, |b| b.is_ascii_alphanumeric())
}

/// Whether the first and the last byte are good; an empty text has none.
fn has_ends(text: &str, good: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    [bytes.first(), bytes.last()].into_iter().all(|end| end.is_some_and(|end| good(*end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_limits() {
        let longest = "a".repeat(63);
        for name in ["a", "a-b", "0", &longest] {
            assert!(is_dns_label(name) && is_subdomain(name) && is_key(name), "{name}");
        }
        for name in ["", "-a", "a-", "A", "a_b", "a.b", &"a".repeat(64)] {
            assert!(!is_dns_label(name), "{name}");
        }
        assert!(
            is_subdomain("a.b")
                && !is_subdomain("a..b")
                && !is_subdomain("")
                && !is_subdomain("a.B")
        );
        assert!(is_subdomain(&"a".repeat(253)) && !is_subdomain(&"a".repeat(254)));
        assert!(is_host("A.b") && !is_host("a_b") && !is_host("a."));
    }

    #[test]
    fn labels_have_keys_with_prefixes_and_values_that_may_be_empty() {
        assert!(is_key("topology.kubernetes.io/zone") && is_key("Zone_1.x"));
        assert!(!is_key("") && !is_key("/zone") && !is_key("a/") && !is_key("a/b/c"));
        assert!(is_value("") && is_value("A_1.b-2"));
        assert!(!is_value("-a") && !is_value("a b") && !is_value(&"a".repeat(64)));
    }
}
