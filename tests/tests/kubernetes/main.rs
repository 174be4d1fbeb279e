//! GFS on a real Kubernetes: what `helm install` promises, what an operator must survive, and what it must not do
//! (docs/semantics.md, "Kubernetes").
//!
//! `cargo xtask test --only kubernetes` starts a cluster of three nodes for them. With `KUBECONFIG` they use that cluster:
//! `cargo test --profile ci -p gfs-tests --test kubernetes -- NAME` runs some of them ([`gfs_tests::kubernetes::testbed`]
//! lists the variables).

mod client;
mod faults;
mod install;
mod lost;
mod manifests;
mod operator;
mod upkeep;

use std::process::ExitCode;

use gfs_tests::kubernetes::suite::{self, Case, Needs};

macro_rules! cases {
    ($($needs:ident $module:ident::$name:ident,)*) => {
        &[$(Case { name: stringify!($name), run: $module::$name, needs: Needs::$needs }),*]
    };
}

const CASES: &[Case] = cases![
    Cluster install::install_to_first_file_takes_less_than_two_minutes,
    Cluster client::a_gibibyte_goes_in_and_out_of_a_pod,
    Machines operator::operator_killed_in_mid_install_resumes,
    Cluster operator::uninstall_and_reinstall_of_the_operator_goes_unnoticed,
    Machines operator::an_unchanged_cluster_is_not_written,
    Machines faults::a_node_is_powered_off_and_on,
    Machines faults::reads_and_writes_go_on_without_the_api_server,
    Namespace faults::every_pod_deleted_one_by_one_and_all_at_once,
    Namespace upkeep::config_change_is_rolled_out_one_at_a_time,
    Namespace upkeep::scale_up_adds_chunkservers_that_take_chunks,
    Namespace upkeep::deletion_keeps_data_unless_said_twice,
    Namespace upkeep::the_last_word_before_a_deletion_counts,
    Namespace upkeep::a_paused_cluster_is_left_alone,
    Namespace upkeep::an_object_someone_else_changed_is_put_back,
    Namespace lost::a_lost_master_volume_is_reported_and_nothing_is_formatted,
    Namespace lost::a_deleted_claim_keeps_its_pod,
    Namespace lost::nothing_is_formatted_beside_volumes_of_an_earlier_cluster,
    Namespace lost::a_cluster_without_its_chunks_is_not_ready,
    Namespace lost::without_a_master_no_chunkserver_is_evicted,
    Namespace upkeep::a_set_of_chunkservers_is_never_made_smaller,
    Namespace client::a_rust_program_in_a_pod_uses_the_client_library,
    Namespace manifests::wrong_manifests_are_refused_and_name_the_field,
];

fn main() -> ExitCode {
    suite::main(CASES)
}
