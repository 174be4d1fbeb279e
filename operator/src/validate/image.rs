//! Which image a cluster runs.

use k8s_openapi::api::core::v1::LocalObjectReference;

use super::problem::Problems;
use super::{Defaults, label};
use crate::crd::limits::{OBJECT_NAME_CHARACTERS_MAX, PULL_SECRETS_MAX};
use crate::crd::{Image, PullPolicy};

/// Characters of the value of a label.
const LABEL_CHARACTERS_MAX: usize = 63;

/// Characters of a tag.
const TAG_CHARACTERS_MAX: usize = 128;

/// The image of all containers of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatedImage {
    /// As a container names it: `REPOSITORY:TAG` or `REPOSITORY@DIGEST`.
    pub(crate) reference: String,
    /// Names of the secrets with which nodes fetch it.
    pub(crate) pull_secrets: Vec<String>,
    /// When nodes fetch it.
    pub(crate) pull_policy: PullPolicy,
    /// Its tag, or the beginning of its digest: the value of the label `app.kubernetes.io/version`.
    pub(crate) version: Option<String>,
}

pub(super) fn validate(
    image: Option<&Image>,
    pull_secrets: &[LocalObjectReference],
    defaults: &Defaults,
    problems: &mut Problems,
) -> ValidatedImage {
    let (reference, pull_policy) = match image {
        Some(image) => (reference(image, problems), image.pull_policy),
        None => (defaults.image.clone(), defaults.image_pull_policy),
    };
    if reference.is_empty() {
        problems.add(
            "spec.image",
            "the operator was started without GFS_IMAGE, so it must be named here",
        );
    }
    let pull_secrets = names(pull_secrets, problems);
    ValidatedImage { version: version(&reference), reference, pull_secrets, pull_policy }
}

fn names(secrets: &[LocalObjectReference], problems: &mut Problems) -> Vec<String> {
    if secrets.len() > PULL_SECRETS_MAX {
        problems.add("spec.imagePullSecrets", format!("at most {PULL_SECRETS_MAX} secrets"));
    }
    for LocalObjectReference { name } in secrets {
        if name.is_empty() || name.len() > OBJECT_NAME_CHARACTERS_MAX {
            problems.add(
                "spec.imagePullSecrets",
                format!("`{name}` is no name of a secret: write it as [{{name: registry}}]"),
            );
        }
    }
    secrets.iter().map(|secret| secret.name.clone()).collect()
}

fn reference(image: &Image, problems: &mut Problems) -> String {
    let Image { repository, tag, digest, pull_policy: _ } = image;
    if !is_repository(repository) {
        problems.add(
            "spec.image.repository",
            format!(
                "`{repository}` is no repository: write a registry and a path in lower-case letters, as registry.example:5000/gfs; \
                 the tag belongs into spec.image.tag"
            ),
        );
    }
    match (tag, digest) {
        (Some(tag), None) => {
            if !is_tag(tag) {
                let message = format!("`{tag}` is no tag: write letters, digits, '_', '.' and '-'");
                problems.add("spec.image.tag", message);
            }
            format!("{repository}:{tag}")
        }
        (None, Some(digest)) => {
            if !is_digest(digest) {
                let message =
                    format!("`{digest}` is no digest: write sha256: and 64 hexadecimal digits");
                problems.add("spec.image.digest", message);
            }
            format!("{repository}@{digest}")
        }
        _ => {
            problems.add("spec.image", "set either tag or digest, and not both");
            repository.clone()
        }
    }
}

fn is_tag(text: &str) -> bool {
    let is_inside = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    begins && text.len() <= TAG_CHARACTERS_MAX && text.bytes().all(is_inside)
}

fn is_digest(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or_default();
    digits.len() == 64 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Components with `/` between them, the first of which may be a registry.
fn is_repository(text: &str) -> bool {
    match text.split_once('/') {
        Some((first, rest)) => {
            (is_registry(first) || is_component(first)) && rest.split('/').all(is_component)
        }
        None => is_component(text),
    }
}

/// A host, and perhaps its port.
fn is_registry(text: &str) -> bool {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let host = match text.rsplit_once(':') {
        Some((host, port)) if is_port(port) && !text.ends_with(']') => host,
        _ => text,
    };
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    address.map_or_else(
        || label::is_host(host),
        |inner| !inner.is_empty() && inner.bytes().all(|b| b.is_ascii_hexdigit() || b == b':'),
    )
}

/// Lower-case letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn is_component(text: &str) -> bool {
    let is_inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let words = || text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_separator = |s: &str| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-');
    let ends = [text.as_bytes().first(), text.as_bytes().last()];
    ends.iter().all(|end| end.is_some_and(|end| is_inside(*end))) && words().all(is_separator)
}

/// Of `host:5000/gfs:0.1.0` it is `0.1.0`; of `gfs@sha256:0123…` it is `sha256-0123…`, twelve digits of it.
fn version(reference: &str) -> Option<String> {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    let version = match name.split_once('@') {
        Some((_, digest)) => digest.replace(':', "-").chars().take("sha256-".len() + 12).collect(),
        None => name.split_once(':')?.1.chars().take(LABEL_CHARACTERS_MAX).collect::<String>(),
    };
    let version = version.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    (!version.is_empty() && label::is_value(version)).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_a_registry_and_a_path() {
        for good in [
            "gfs",
            "x/gfs",
            "localhost/gfs",
            "localhost:5000/a/b-c/gfs",
            "registry.example/g_f__s.a---b",
            "Registry/gfs",
            "[::1]:5000/gfs",
            "[::1]/gfs",
            "a.b-c.D/0",
        ] {
            assert!(is_repository(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "x/",
            "/x",
            "x//y",
            "x/gfs:0.1.0",
            "gfs:0.1.0",
            "Registry/GFS",
            "GFS",
            "r@x",
            "a b",
            "a/b c",
            "x/-a",
            "x/a-",
            "x/a..b",
            "x/a___b",
            "x/a.-b",
            "h:/gfs",
            "h:x/gfs",
            "-h/gfs",
            "h..i/gfs",
            "[]/gfs",
            "[::1/gfs",
            "[g]/gfs",
            "ü/gfs",
        ] {
            assert!(!is_repository(bad), "{bad}");
        }
    }

    #[test]
    fn the_version_is_the_tag_or_the_beginning_of_the_digest() {
        let of = |reference: &str| version(reference);
        assert_eq!(of("localhost/gfs:0.1.0").as_deref(), Some("0.1.0"));
        assert_eq!(of("localhost:5000/gfs"), None);
        assert_eq!(of("gfs@sha256:0123456789abcdef0").as_deref(), Some("sha256-0123456789ab"));
        assert_eq!(of("a/gfs:x@sha256:0123456789abcdef0").as_deref(), Some("sha256-0123456789ab"));
        assert_eq!(of("gfs:0.1.0:0.1.0"), None, "no label, rather than one that stops everything");
        let long = version(&format!("gfs:{}-x", "y".repeat(62)));
        assert_eq!(long, Some("y".repeat(62)), "a label ends with a letter or digit");
    }
}
