//! Which resource may have which channel. Pure.
//!
//! Two workers on one channel would send everything twice, and old devices would mix what they say. So of several resources
//! that mean the same broker and the same topics the oldest has the channel, and the others wait. That depends on nothing
//! but the resources: another controller, or the same one after a restart, decides no other way.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;

use crate::{api::WasmProxy, mqtt::BrokerUrl, protocol::TopicPrefix, resource::translate::topic_prefix};

/// How many of those that wait are told at once that somebody else has their channel now. The others hear of it when they
/// are next looked at: that a thousand copies of one resource are deleted one by one must not cost a million messages.
const TOLD_AT_ONCE: usize = 16;

/// What two workers must not have both.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Channel {
    broker: BrokerUrl,
    prefix: TopicPrefix,
}

/// A resource that means a channel, in the order in which they may have it: the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claimant {
    created: Timestamp,
    /// Where it is.
    pub namespace: String,
    /// What it is called.
    pub name: String,
    /// Which one of that name it is.
    pub uid: String,
}

/// Who means which channel.
#[derive(Debug, Default)]
pub(super) struct Claims {
    channels: HashMap<Channel, BTreeSet<Claimant>>,
    claims: HashMap<String, (Channel, Claimant)>,
}

/// Resources to look at again: who has got a channel, who has lost it, and who has waited for it.
pub(super) type Woken = Vec<Claimant>;

impl Channel {
    /// The channel that a resource means; none where it is not to have a worker, or cannot have one.
    pub fn of(resource: &WasmProxy) -> Option<Self> {
        if resource.spec.suspend || resource.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let broker = resource.spec.broker.url.parse().ok()?;
        Some(Self { broker, prefix: topic_prefix(&resource.spec.channel).ok()? })
    }
}

impl Claimant {
    /// The one that a resource is.
    pub fn of(resource: &WasmProxy) -> Self {
        Self {
            created: resource.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            namespace: resource.namespace().unwrap_or_default(),
            name: resource.name_any(),
            uid: resource.uid().unwrap_or_default(),
        }
    }
}

impl Claims {
    /// Takes in what a resource means now; says whose turn it is to be looked at again.
    pub fn claim(&mut self, claimant: Claimant, channel: Option<Channel>) -> Woken {
        if self.claims.get(&claimant.uid).map(|(known, _)| known) == channel.as_ref() {
            return Woken::new();
        }
        let mut woken = self.release(&claimant.uid);
        if let Some(channel) = channel {
            self.claims.insert(claimant.uid.clone(), (channel.clone(), claimant.clone()));
            let claimants = self.channels.entry(channel).or_default();
            let before = claimants.first().cloned();
            claimants.insert(claimant);
            woken.extend(woken_by(before.as_ref(), claimants));
        }
        woken
    }

    /// A resource means no channel any more; says whose turn it is to be looked at again.
    pub fn release(&mut self, uid: &str) -> Woken {
        let Some((channel, claimant)) = self.claims.remove(uid) else { return Woken::new() };
        let Some(claimants) = self.channels.get_mut(&channel) else { return Woken::new() };
        let before = claimants.first().cloned();
        claimants.remove(&claimant);
        if claimants.is_empty() {
            self.channels.remove(&channel);
            return Woken::new();
        }
        woken_by(before.as_ref(), claimants)
    }

    /// Releases all but those to keep; says whose turn it is to be looked at again.
    pub fn retain(&mut self, keep: impl Fn(&Claimant) -> bool) -> Woken {
        let gone = self.claims.values().filter(|(_, claimant)| !keep(claimant));
        let gone: Vec<_> = gone.map(|(_, claimant)| claimant.uid.clone()).collect();
        gone.iter().flat_map(|uid| self.release(uid)).collect()
    }

    /// Who has the channel that the resource means, where it is another one.
    pub fn rival(&self, uid: &str) -> Option<&Claimant> {
        let (channel, _) = self.claims.get(uid)?;
        self.channels.get(channel)?.first().filter(|first| first.uid != uid)
    }
}

/// Nobody, as long as the same one has the channel.
fn woken_by(before: Option<&Claimant>, claimants: &BTreeSet<Claimant>) -> Woken {
    if claimants.first() == before {
        return Woken::new();
    }
    claimants.iter().take(1 + TOLD_AT_ONCE).cloned().collect()
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
