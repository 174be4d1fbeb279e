//! The rules that the API server keeps. Each message names the field and says what to do.

use kube::core::{Message, Rule};

fn rule(rule: impl Into<String>, message: impl Into<String>) -> Rule {
    Rule::new(rule).message(Message::Message(message.into()))
}

/// Of the whole object.
pub(super) fn name_is_short() -> Rule {
    rule(
        format!("self.metadata.name.size() <= {}", super::limits::NAME_CHARACTERS_MAX),
        format!(
            "metadata.name: at most {} characters, or the names of its pods get too long",
            super::limits::NAME_CHARACTERS_MAX
        ),
    )
}

/// Of the whole object.
pub(super) fn name_is_a_label() -> Rule {
    rule(
        "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name: write lower-case letters, digits and '-', beginning with a letter: it becomes part of DNS names",
    )
}

/// `a` with the domain `x-master` and `a-chunk-x` would both have a StatefulSet `a-chunk-x-master`.
pub(super) fn name_is_no_domains() -> Rule {
    rule(
        "!self.metadata.name.matches('-chunk(-|$)')",
        "metadata.name: must not contain '-chunk': it could be taken for the chunkservers of another cluster",
    )
}

/// Of `spec`.
pub(super) fn factor_has_servers() -> Rule {
    rule(
        "self.replication.factor <= self.chunkservers.replicas",
        "spec.replication.factor must not be above spec.chunkservers.replicas: the replicas of a chunk are on different \
         chunkservers; lower the one or raise the other",
    )
}

/// Of `spec`.
pub(super) fn deletion_is_confirmed() -> Rule {
    rule(
        format!(
            "self.deletionPolicy != 'Delete' || (has(self.deletionConfirmation) && self.deletionConfirmation == '{}')",
            super::DELETION_CONFIRMATION
        ),
        format!(
            "spec.deletionPolicy: Delete destroys all data when the GfsCluster is deleted; to confirm it set \
             spec.deletionConfirmation to {}",
            super::DELETION_CONFIRMATION
        ),
    )
}

/// Of a field that is decided at creation. What was made of it cannot be seen here, so it does not depend on the status.
pub(super) fn fixed(field: &str, why: &str) -> Rule {
    rule(
        "self == oldSelf",
        format!(
            "{field} cannot be changed: {why}. A cluster whose status.initialized is not true has no data: delete it and \
             create it again"
        ),
    )
}

/// Of a count that may only grow.
pub(super) fn no_fewer_chunkservers() -> Rule {
    rule(
        "self >= oldSelf",
        "spec.chunkservers.replicas cannot be lowered yet: the chunks of a server that goes would not be moved away first",
    )
}

/// Of a count that must be none.
pub(super) fn no_shadows() -> Rule {
    rule("self == 0", "spec.shadows.replicas must be 0: masters do not replicate yet")
}

/// Of the name of a failure domain.
pub(super) fn domain_name() -> Rule {
    rule(
        "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
        "spec.chunkservers.domains[].name: write lower-case letters, digits and '-': it becomes part of DNS names",
    )
}

/// What CEL needs to compute with a size of the servers' configuration: there 1KiB is what a quantity has as 1Ki.
fn bytes_of(size: &str) -> String {
    format!("quantity({size}.replace('iB', 'i').replace('B', ''))")
}

/// Of a text that [`size`] takes; it tells of all others.
pub(super) fn chunk_size_is_possible() -> Rule {
    use gfs_types::ByteSize;
    use gfs_types::limits::{BLOCK_BYTES, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN};
    let bytes = bytes_of("self");
    rule(
        format!(
            "!self.matches('{SIZE}') || (!{bytes}.isLessThan(quantity('{CHUNK_BYTES_MIN}')) && \
             !{bytes}.isGreaterThan(quantity('{CHUNK_BYTES_MAX}')) && {bytes}.asInteger() % {BLOCK_BYTES} == 0)"
        ),
        format!(
            "spec.chunkSize: write a multiple of {} from {} to {}; for example 64MiB",
            ByteSize(BLOCK_BYTES),
            ByteSize(CHUNK_BYTES_MIN),
            ByteSize(CHUNK_BYTES_MAX)
        ),
    )
}

/// Of `spec.chunkservers`, whose volumes cannot grow when it turns out later. Of wrong texts others tell.
pub(super) fn volume_is_above_reserve() -> Rule {
    let (plain, wanted) = (crate::validate::plain_reserve(), bytes_of("self.config.reserve"));
    rule(
        format!(
            "!isQuantity(self.storage.size) || !quantity(self.storage.size).isGreaterThan(quantity('0')) || \
             (has(self.config.reserve) ? (!self.config.reserve.matches('{SIZE}') || \
             quantity(self.storage.size).isGreaterThan({wanted})) : \
             quantity(self.storage.size).isGreaterThan(quantity('{}')))",
            plain.0
        ),
        format!(
            "spec.chunkservers.storage.size: must be above spec.chunkservers.config.reserve ({plain} when it is left out), \
             which is never given to chunks; raise the one or lower the other"
        ),
    )
}

/// Of a volume.
pub(super) fn volume(field: &str) -> Rule {
    let text = format!("{field}.size: write a quantity above 0, for example 100Gi");
    rule("isQuantity(self.size) && quantity(self.size).isGreaterThan(quantity('0'))", text)
        .field_path(".size")
}

/// Of a duration as the servers' configuration has it.
pub(super) fn duration(field: &str) -> Rule {
    rule(
        "self.matches('^[0-9]+(ms|s|m|h|d)$')",
        format!(
            "{field}: write a whole number and one of the units ms, s, m, h, d; for example 10s"
        ),
    )
}

/// How a size is written in the servers' configuration.
const SIZE: &str = "^[0-9]+(B|KiB|MiB|GiB|TiB)?$";

/// Of a size as the servers' configuration has it.
pub(super) fn size(field: &str) -> Rule {
    rule(
        format!("self.matches('{SIZE}')"),
        format!(
            "{field}: write a whole number and one of the units B, KiB, MiB, GiB, TiB; for example 64MiB"
        ),
    )
}

/// Of an image.
pub(super) fn tag_or_digest() -> Rule {
    rule("has(self.tag) != has(self.digest)", "spec.image: set either tag or digest, and not both")
}

/// Of the tag of an image.
pub(super) fn image_tag() -> Rule {
    rule(
        "self.matches('^[A-Za-z0-9_][A-Za-z0-9_.-]*$')",
        "spec.image.tag: write letters, digits, '_', '.' and '-'; a digest belongs into spec.image.digest",
    )
}

/// Of the digest of an image.
pub(super) fn image_digest() -> Rule {
    rule(
        "self.matches('^sha256:[0-9a-f]{64}$')",
        "spec.image.digest: write sha256: and 64 hexadecimal digits",
    )
}
