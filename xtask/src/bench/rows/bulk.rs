//! Large writes and reads, against the chain of replicas and sendfile.

use anyhow::Result;

use super::Row;
use crate::bench::figures::{Figures, Target};
use crate::bench::lab::Lab;

pub(super) const WRITE: Row = Row::new(
    "write",
    "1 GiB through three replicas by one client and by 16, against the yardstick chain",
    write,
    &[
        Target::at_most("cpu", 1.25, "write, 1 client: CPU per GiB / yardstick"),
        Target::at_least("rate", 0.75, "write, 1 client: rate / yardstick"),
        Target::told("mib_per_s", "write, 1 client: MiB/s"),
        Target::told("cpu_s", "write, 1 client: CPU s per GiB"),
        Target::told("yard_mib_per_s", "yardstick chain: MiB/s"),
        Target::told("yard_cpu_s", "yardstick chain: CPU s per GiB"),
        Target::told("sync_s", "write, 1 client: s more until all is on disk"),
        Target::told("sync_cpu_s", "write, 1 client: CPU s of that"),
        Target::at_least("sum16", 0.85, "write, 16 clients: sum of rates / one client's"),
        Target::at_least("fair16", 0.5, "write, 16 clients: slowest / mean"),
        Target::told("mib_per_s16", "write, 16 clients: MiB/s"),
        Target::told("cpu_s16", "write, 16 clients: CPU s per GiB"),
    ],
);

pub(super) const READ: Row = Row::new(
    "read",
    "1 GiB out of the page cache by one client, 3 GiB by 16, against the yardstick read",
    read,
    &[
        Target::at_most("cpu", 1.4, "read, 1 client: CPU per GiB / yardstick"),
        Target::at_most(
            "server_cpu",
            1.4,
            "read, 1 client: CPU of the servers / yardstick's server",
        ),
        Target::told("mib_per_s", "read, 1 client: MiB/s"),
        Target::told("cpu_s", "read, 1 client: CPU s per GiB"),
        Target::told("server_cpu_s", "read, 1 client: CPU s per GiB of the servers"),
        Target::told("yard_mib_per_s", "yardstick read: MiB/s"),
        Target::told("yard_cpu_s", "yardstick read: CPU s per GiB"),
        Target::told("yard_server_cpu_s", "yardstick read: CPU s per GiB of its server"),
        Target::at_least("sum16", 0.85, "read, 16 clients: sum of rates / one client's"),
        Target::at_least("fair16", 0.5, "read, 16 clients: slowest / mean"),
        Target::told("mib_per_s16", "read, 16 clients: MiB/s"),
        Target::told("cpu_s16", "read, 16 clients: CPU s per GiB"),
    ],
);

/// Six GiB are what a write uses: the files of three replicas, twice.
const WARM_GIB: u64 = 6;

fn write(lab: &mut Lab) -> Result<Figures> {
    let mib = lab.sized(1024, 128);
    lab.warm(WARM_GIB)?;
    let yard = lab.yardstick(&format!("chain --mib {mib}"))?;
    lab.warm(WARM_GIB)?;
    let one = lab.bench(&format!("write --size {mib}MiB"))?;
    lab.warm(WARM_GIB)?;
    let sixteen = lab.bench(&format!("write --size {mib}MiB --clients 16 --connections 16"))?;
    let (rate, yard_rate) = (one.number("/mib_per_s")?, yard.number("/mib_per_s")?);
    let (cpu_s, yard_cpu_s) = (one.number("/cpu_s_per_gib")?, yard.number("/cpu_s_per_gib")?);
    Ok(Figures::from([
        ("cpu", cpu_s / yard_cpu_s),
        ("rate", rate / yard_rate),
        ("mib_per_s", rate),
        ("cpu_s", cpu_s),
        ("yard_mib_per_s", yard_rate),
        ("yard_cpu_s", yard_cpu_s),
        ("sync_s", one.number("/sync_s")?),
        ("sync_cpu_s", one.number("/sync_cpu_s")?),
        ("sum16", sixteen.number("/mib_per_s")? / rate),
        ("fair16", sixteen.number("/slowest_of_mean")?),
        ("mib_per_s16", sixteen.number("/mib_per_s")?),
        ("cpu_s16", sixteen.number("/cpu_s_per_gib")?),
    ]))
}

fn read(lab: &mut Lab) -> Result<Figures> {
    let mib = lab.sized(1024, 128);
    // Left in the page cache by the first round; stored checksums are compared in every one.
    let one = format!("read --size {mib}MiB --path /bench-read-1 --keep --verify");
    let many = "--clients 16 --connections 16 --path /bench-read-16 --keep --verify";
    // Three chunks each: with one it is over in a fifth of a second, most of which goes into 48 new connections.
    let sixteen = format!("read --size {}MiB {many}", 3 * mib);
    if !lab.exists("/bench-read-1")? {
        lab.bench(&one)?;
        lab.bench(&sixteen)?;
    }
    lab.warm(2)?;
    let yard = lab.yardstick(&format!("read --mib {mib}"))?;
    lab.warm(2)?;
    // What the kernel took out of the page cache meanwhile comes back: the yardstick's files are just written.
    lab.bench(&one)?;
    let one = lab.bench(&one)?;
    lab.bench(&sixteen)?;
    let sixteen = lab.bench(&sixteen)?;
    let gib = one.number("/bytes")? / (1024.0 * 1024.0 * 1024.0);
    let server_cpu_s = one.sum_without("/cpu_s", "client")? / gib;
    let yard_server_cpu_s = yard.number("/cpu_s_per_gib_of/server")?;
    let (cpu_s, yard_cpu_s) = (one.number("/cpu_s_per_gib")?, yard.number("/cpu_s_per_gib")?);
    let rate = one.number("/mib_per_s")?;
    Ok(Figures::from([
        ("cpu", cpu_s / yard_cpu_s),
        ("server_cpu", server_cpu_s / yard_server_cpu_s),
        ("mib_per_s", rate),
        ("cpu_s", cpu_s),
        ("server_cpu_s", server_cpu_s),
        ("yard_mib_per_s", yard.number("/mib_per_s")?),
        ("yard_cpu_s", yard_cpu_s),
        ("yard_server_cpu_s", yard_server_cpu_s),
        ("sum16", sixteen.number("/mib_per_s")? / rate),
        ("fair16", sixteen.number("/slowest_of_mean")?),
        ("mib_per_s16", sixteen.number("/mib_per_s")?),
        ("cpu_s16", sixteen.number("/cpu_s_per_gib")?),
    ]))
}
