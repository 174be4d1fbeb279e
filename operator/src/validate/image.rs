//! Which image a cluster runs.

use k8s_openapi::api::core::v1::LocalObjectReference;

use super::Defaults;
use super::problem::Problems;
use crate::crd::limits::{OBJECT_NAME_CHARACTERS_MAX, PULL_SECRETS_MAX};
use crate::crd::{Image, PullPolicy};

/// Characters of the value of a label.
const LABEL_CHARACTERS_MAX: usize = 63;

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
    if repository.is_empty() || repository.contains(|c: char| c.is_whitespace() || c == '@') {
        problems.add(
            "spec.image.repository",
            format!("`{repository}` is no repository: write it as registry.example/gfs"),
        );
    }
    match (tag, digest) {
        (Some(tag), None) => format!("{repository}:{tag}"),
        (None, Some(digest)) => format!("{repository}@{digest}"),
        _ => {
            problems.add("spec.image", "set either tag or digest, and not both");
            repository.clone()
        }
    }
}

/// Of `host:5000/gfs:0.1.0` it is `0.1.0`; of `gfs@sha256:0123…` it is `sha256-0123…`, twelve digits of it.
fn version(reference: &str) -> Option<String> {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    let version = match name.split_once('@') {
        Some((_, digest)) => digest.replace(':', "-").chars().take("sha256-".len() + 12).collect(),
        None => name.split_once(':')?.1.chars().take(LABEL_CHARACTERS_MAX).collect::<String>(),
    };
    let version = version.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    (!version.is_empty()).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_tag_or_the_beginning_of_the_digest() {
        let of = |reference: &str| version(reference);
        assert_eq!(of("localhost/gfs:0.1.0").as_deref(), Some("0.1.0"));
        assert_eq!(of("localhost:5000/gfs"), None);
        assert_eq!(of("gfs@sha256:0123456789abcdef0").as_deref(), Some("sha256-0123456789ab"));
        assert_eq!(of("a/gfs:x@sha256:0123456789abcdef0").as_deref(), Some("sha256-0123456789ab"));
        let long = version(&format!("gfs:{}-x", "y".repeat(62)));
        assert_eq!(long, Some("y".repeat(62)), "a label ends with a letter or digit");
    }
}
