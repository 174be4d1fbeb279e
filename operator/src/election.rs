//! Who of several operators acts: the holder of a Lease.
//!
//! It saves work and noise, and is no argument for safety: two holders may overlap, whatever one does. What must happen
//! once is guarded where it happens (docs/adr/0081).
//!
//! A lease is over when its record did not change for its whole time *as seen here*: the holder's clock, which the record
//! is written with, is never compared with this one.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Without a sign of life for so long, the holder is taken for dead.
const LEASE_TIME: Duration = Duration::from_secs(15);
/// A holder that could not renew for so long stops to act: well before the others go on.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Time between two tries.
const RETRY: Duration = Duration::from_secs(2);
/// Time for one request.
const REQUEST: Duration = Duration::from_secs(5);

/// What to do about a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Someone else holds it.
    Leave,
    /// It is ours: renew it.
    Renew,
    /// Nobody holds it: take it.
    Take,
}

/// The record as it was last seen to change.
#[derive(Debug, Default)]
struct Observer {
    seen: Option<(LeaseSpec, Instant)>,
}

impl Observer {
    fn judge(&mut self, me: &str, spec: &LeaseSpec, now: Instant) -> Verdict {
        let changed = self.seen.as_ref().is_none_or(|(seen, _)| seen != spec);
        if changed {
            self.seen = Some((spec.clone(), now));
        }
        let since = self.seen.as_ref().map_or(now, |(_, at)| *at);
        match spec.holder_identity.as_deref() {
            None | Some("") => Verdict::Take,
            Some(holder) if holder == me => Verdict::Renew,
            Some(_) if now.duration_since(since) >= LEASE_TIME => Verdict::Take,
            Some(_) => Verdict::Leave,
        }
    }
}

/// One that would hold the lease, or does.
pub struct Candidate {
    api: Api<Lease>,
    lease: String,
    me: String,
    observer: Observer,
}

impl Candidate {
    /// `lease` is what operators of one task share, and no other; `me` must be of this process alone: the name of its pod.
    #[must_use]
    pub fn new(client: Client, namespace: &str, lease: &str, me: &str) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, lease: lease.to_owned(), me: me.to_owned(), observer: Observer::default() }
    }

    /// Ends when the lease is held. `seen` is called when another was seen to hold it: whoever stands by is well.
    pub async fn campaign(&mut self, mut seen: impl FnMut()) {
        let mut told = None;
        loop {
            match self.attempt().await {
                Ok(true) => return,
                Ok(false) => seen(),
                Err(error) => {
                    let error = error.to_string();
                    if told.as_ref() != Some(&error) {
                        tracing::warn!(
                            lease = self.lease,
                            error,
                            "the lease cannot be had; trying again"
                        );
                        told = Some(error);
                    }
                }
            }
            sleep(RETRY).await;
        }
    }

    /// Renews the lease until it cannot be any more; then it may be another's soon.
    pub async fn keep(&mut self) {
        let mut asked = Instant::now();
        loop {
            let next = asked + RENEW_DEADLINE;
            let renewal = async {
                sleep(RETRY).await;
                (Instant::now(), self.attempt().await)
            };
            match timeout_at(next, renewal).await {
                Ok((at, Ok(true))) => asked = at,
                Ok((_, Ok(false))) => {
                    return tracing::warn!(lease = self.lease, "another took the lease");
                }
                Ok((_, Err(error))) => {
                    tracing::warn!(lease = self.lease, %error, "the lease was not renewed")
                }
                Err(_) => {
                    return tracing::warn!(lease = self.lease, "the lease was not renewed in time");
                }
            }
        }
    }

    /// Gives the lease back, so that another need not wait for its end.
    pub async fn release(&mut self) {
        let release = async {
            let Some(mut lease) = self.api.get_opt(&self.lease).await? else { return Ok(()) };
            let Some(spec) = lease.spec.as_mut() else { return Ok(()) };
            if spec.holder_identity.as_deref() != Some(&self.me) {
                return Ok(());
            }
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            self.api.replace(&self.lease, &PostParams::default(), &lease).await.map(|_| ())
        };
        match timeout(REQUEST, release).await {
            Ok(Ok(())) => tracing::info!(lease = self.lease, "the lease was given back"),
            Ok(Err(error)) => {
                tracing::warn!(lease = self.lease, %error, "the lease was not given back")
            }
            Err(_) => tracing::warn!(lease = self.lease, "the lease was not given back: no answer"),
        }
    }

    /// Whether the lease is held now. A write carries the version that was read: of two, one succeeds.
    async fn attempt(&mut self) -> kube::Result<bool> {
        let attempt = timeout(REQUEST, self.attempt_unlimited()).await;
        attempt.unwrap_or_else(|_| Err(kube::Error::Service("no answer in time".into())))
    }

    async fn attempt_unlimited(&mut self) -> kube::Result<bool> {
        let params = PostParams::default();
        let Some(lease) = self.api.get_opt(&self.lease).await? else {
            let metadata = ObjectMeta { name: Some(self.lease.clone()), ..ObjectMeta::default() };
            let spec = Some(taken(&LeaseSpec::default(), &self.me));
            return self.api.create(&params, &Lease { metadata, spec }).await.map(|_| true);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let spec = match self.observer.judge(&self.me, &spec, Instant::now()) {
            Verdict::Leave => return Ok(false),
            Verdict::Renew => renewed(&spec),
            Verdict::Take => taken(&spec, &self.me),
        };
        let lease = Lease { spec: Some(spec), ..lease };
        self.api.replace(&self.lease, &params, &lease).await.map(|_| true)
    }
}

fn renewed(spec: &LeaseSpec) -> LeaseSpec {
    LeaseSpec { renew_time: Some(MicroTime(Timestamp::now())), ..spec.clone() }
}

fn taken(spec: &LeaseSpec, me: &str) -> LeaseSpec {
    let now = Some(MicroTime(Timestamp::now()));
    LeaseSpec {
        holder_identity: Some(me.to_owned()),
        acquire_time: now.clone(),
        renew_time: now,
        lease_duration_seconds: i32::try_from(LEASE_TIME.as_secs()).ok(),
        lease_transitions: Some(spec.lease_transitions.unwrap_or(0).saturating_add(1)),
        ..spec.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str, renewals: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            // However long ago the holder's clock says.
            renew_time: Some(MicroTime(Timestamp::from_second(i64::from(renewals)).unwrap())),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_over_when_it_was_seen_unchanged_for_its_whole_time() {
        let mut observer = Observer::default();
        let start = Instant::now();
        let mut judge =
            |spec: &LeaseSpec, after: Duration| observer.judge("me", spec, start + after);
        let second = Duration::from_secs(1);
        assert_eq!(judge(&held_by("you", 1), second), Verdict::Leave);
        assert_eq!(judge(&held_by("you", 1), LEASE_TIME), Verdict::Leave);
        // A sign of life, at the last moment.
        assert_eq!(judge(&held_by("you", 2), LEASE_TIME + second), Verdict::Leave);
        assert_eq!(judge(&held_by("you", 2), 2 * LEASE_TIME), Verdict::Leave);
        assert_eq!(judge(&held_by("you", 2), 2 * LEASE_TIME + second), Verdict::Take);
    }

    #[test]
    fn what_nobody_holds_is_taken_at_once_and_ours_is_renewed() {
        let mut observer = Observer::default();
        let now = Instant::now();
        assert_eq!(observer.judge("me", &LeaseSpec::default(), now), Verdict::Take);
        assert_eq!(observer.judge("me", &held_by("", 1), now), Verdict::Take);
        assert_eq!(observer.judge("me", &held_by("me", 1), now), Verdict::Renew);
    }

    #[test]
    fn a_holder_stops_before_others_go_on() {
        assert!(RENEW_DEADLINE + RETRY < LEASE_TIME);
        assert_eq!(taken(&LeaseSpec::default(), "me").lease_transitions, Some(1));
        assert_eq!(renewed(&held_by("me", 1)).holder_identity.as_deref(), Some("me"));
    }
}
