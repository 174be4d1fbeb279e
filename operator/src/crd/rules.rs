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
            "{field} cannot be changed: {why}. A cluster whose status.initialized is not true has stored nothing: delete it \
             and create it again"
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
            "!self.storage.size.matches('{VOLUME}') || quantity(self.storage.size).isLessThan(quantity('{}')) || \
             (has(self.config.reserve) ? (!self.config.reserve.matches('{SIZE}') || \
             quantity(self.storage.size).isGreaterThan({wanted})) : \
             quantity(self.storage.size).isGreaterThan(quantity('{}')))",
            super::limits::VOLUME_BYTES_MIN,
            plain.0
        ),
        format!(
            "spec.chunkservers.storage.size: must be above spec.chunkservers.config.reserve ({plain} when it is left out), \
             which is never given to chunks; raise the one or lower the other"
        ),
    )
}

/// How the size of a volume is written: a quantity, but nothing of which [`crate::validate`] could think otherwise.
const VOLUME: &str = "^[0-9]{1,19}([.][0-9]{1,3})?(k|[MGTPE]i?|Ki)?$";

/// Of a volume. It cannot be changed later, so what is let through here must be good.
pub(super) fn volume(field: &str) -> Rule {
    use super::limits::{VOLUME_BYTES_MAX, VOLUME_BYTES_MIN};
    rule(
        format!(
            "self.size.matches('{VOLUME}') && !quantity(self.size).isLessThan(quantity('{VOLUME_BYTES_MIN}')) && \
             !quantity(self.size).isGreaterThan(quantity('{VOLUME_BYTES_MAX}'))"
        ),
        format!("{field}.size: write a quantity from 256Mi to 1Ei, without a sign or an exponent; for example 100Gi"),
    )
    .field_path(".size")
}

/// A name of DNS: of most objects.
const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// The key of a label, of a taint.
const KEY: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";
/// The value of a label, of a taint.
const VALUE: &str = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";
/// How much of a resource: a quantity without a sign.
pub(super) const AMOUNT: &str =
    r"^([0-9]+([.][0-9]*)?|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$";

/// Of the name of an object of Kubernetes.
pub(super) fn object_name() -> Rule {
    rule(
        format!("self.matches('{SUBDOMAIN}')"),
        "write the name of an object: lower-case letters, digits, '-' and '.'",
    )
}

/// Of labels.
pub(super) fn labels() -> Rule {
    rule(
        format!(
            "self.all(key, key.matches('{KEY}') && key.indexOf('/') <= 253 && self[key].matches('{VALUE}'))"
        ),
        "write labels: letters, digits, '-', '_' and '.', with a letter or a digit at both ends and at most 63 of them; \
         before a key there may be a domain and '/'",
    )
}

/// Of a map of resources and how much of them. How an amount is written, the schema says.
pub(super) fn resource_names() -> Rule {
    let names = super::limits::RESOURCES;
    rule(
        format!("self.all(name, name in ['{}'])", names.join("', '")),
        format!("write amounts of {}, and of nothing else", names.join(", ")),
    )
}

/// Of a toleration.
pub(super) fn toleration() -> [Rule; 4] {
    let exists = "(has(self.operator) && self.operator == 'Exists')";
    [
        rule(
            format!("!has(self.key) || self.key == '' || self.key.matches('{KEY}')"),
            "write the key of a taint, as example.org/dedicated",
        )
        .field_path(".key"),
        rule(
            format!("{exists} || (has(self.key) && self.key != '')"),
            "without a key the operator must be Exists: it tolerates every taint",
        )
        .field_path(".key"),
        rule(
            format!(
                "!has(self.value) || ({exists} ? self.value == '' : self.value.matches('{VALUE}'))"
            ),
            "write the value of a taint, and none with the operator Exists",
        )
        .field_path(".value"),
        rule(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "only the effect NoExecute has tolerationSeconds",
        )
        .field_path(".tolerationSeconds"),
    ]
}

/// Of an expression of a label selector.
pub(super) fn selector_expression() -> [Rule; 3] {
    let values = "(has(self.values) && self.values.size() > 0)";
    [
        rule(format!("self.key.matches('{KEY}')"), "write the key of a label").field_path(".key"),
        rule(
            format!("self.operator in ['In', 'NotIn'] ? {values} : !{values}"),
            "In and NotIn need values, Exists and DoesNotExist have none",
        )
        .field_path(".values"),
        rule(
            format!("!has(self.values) || self.values.all(value, value.matches('{VALUE}'))"),
            "write values of labels: letters, digits, '-', '_' and '.', with a letter or a digit at both ends",
        )
        .field_path(".values"),
    ]
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

/// What CEL needs to compute with a duration of the servers' configuration.
fn milliseconds_of(duration: &str) -> String {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    let days = format!("int({duration}.replace('d', '')) * 86400000");
    units.iter().rev().fold(days, |others, (unit, milliseconds)| {
        format!(
            "({duration}.endsWith('{unit}') ? int({duration}.replace('{unit}', '')) * {milliseconds} : {others})"
        )
    })
}

/// Of `spec.masters.config`. A chunkserver must be heard twice in a lease. Of texts that are no durations others tell.
pub(super) fn heartbeat_fits_lease() -> Rule {
    let (lease, heartbeat) = crate::validate::plain_lease_and_heartbeat();
    let read = |field: &str, plain: gfs_types::DurationMs| {
        let milliseconds = milliseconds_of(&format!("self.{field}"));
        format!("(has(self.{field}) ? {milliseconds} : {})", plain.0)
    };
    let readable = |field: &str| {
        format!("(!has(self.{field}) || self.{field}.matches('^[0-9]{{1,9}}(ms|s|m|h|d)$'))")
    };
    rule(
        format!(
            "!{} || !{} || {} * 2 <= {}",
            readable("lease"),
            readable("heartbeat"),
            read("heartbeat", heartbeat),
            read("lease", lease),
        ),
        format!(
            "spec.masters.config.heartbeat: must be at most half of spec.masters.config.lease (left out they are {heartbeat} and \
             {lease}); lower the one or raise the other"
        ),
    )
    .field_path(".heartbeat")
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

/// Where an image is: a registry, if it is not the nodes' own choice, and a path. No tag, which is a field of its own.
pub(super) fn image_repository() -> Rule {
    let host =
        r"[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*";
    let path = "[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*";
    rule(
        format!(r"self.matches('^(({host}|\\[[0-9A-Fa-f:]+\\])(:[0-9]+)?/)?{path}(/{path})*$')"),
        "spec.image.repository: write a registry and a path in lower-case letters, as registry.example:5000/gfs; the tag belongs \
         into spec.image.tag",
    )
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
