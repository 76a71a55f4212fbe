//! One type for both versions of the protocol.
//!
//! [`Link`] is the half that is driven: events come out of it, one at a time. [`Outlet`] is the half that publishes and
//! disconnects, from any task. What differs between the versions is in `v4` and `v5` and nowhere
//! else.

use std::time::Duration;

use super::{
    error::PublishError,
    fault::Fault,
    interrupt::Interrupt,
    message::{Ack, Message, Publish, Qos},
    options::Settled,
    v4, v5,
    version::Version,
};

/// What happened on a link.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// CONNACK.
    Connected {
        /// The largest packet that the broker takes.
        max_packet_size: Option<u32>,
        /// The broker has kept the session: the link sends again by itself what was not acknowledged.
        resumed: bool,
    },
    /// SUBACK: for each topic filter in the order asked, why it was denied.
    Subscribed(Vec<Option<String>>),
    /// A message arrived.
    Message(Message),
    /// A publish went out, or the broker acknowledged a step of one.
    Progress,
    /// PINGREQ went out.
    Ping,
    /// PINGRESP.
    Pong,
    /// Nothing of interest.
    Other,
}

/// Which session to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// The one that the options say.
    Configured,
    /// A clean one, whatever the options say: to end a session that is not wanted any more.
    Clean,
}

/// A connection to a broker, and what must survive from one connection to the next: publishes sent but not acknowledged,
/// with their packet identifiers. Keep the link for the next connection, and the library sends them again where the broker
/// has kept the session, as exactly-once needs. Where it has not, or where the link is dropped, their [`Receipt`]s fail
/// with [`Unacknowledged::Lost`].
pub(super) enum Link {
    V311(v4::Link),
    V5(v5::Link),
}

impl Link {
    pub fn new(version: Version, settled: &Settled, beginning: Beginning) -> Self {
        match version {
            Version::V311 => Self::V311(v4::Link::new(settled, beginning)),
            Version::V5 => Self::V5(v5::Link::new(settled, beginning)),
        }
    }

    pub fn version(&self) -> Version {
        match self {
            Self::V311(_) => Version::V311,
            Self::V5(_) => Version::V5,
        }
    }

    pub fn outlet(&self) -> Outlet {
        match self {
            Self::V311(link) => Outlet::V311(link.outlet()),
            Self::V5(link) => Outlet::V5(link.outlet()),
        }
    }

    /// What ends its connection, from any task, in such a way that the link goes on with the next one.
    pub fn interrupt(&self) -> Interrupt {
        match self {
            Self::V311(link) => link.interrupt().clone(),
            Self::V5(link) => link.interrupt().clone(),
        }
    }

    /// Takes other credentials and certificates for the connections to come.
    pub fn renew(&mut self, settled: &Settled) {
        match self {
            Self::V311(link) => link.renew(settled),
            Self::V5(link) => link.renew(settled),
        }
    }

    /// The next event; connects first where there is no connection. **Not cancel-safe**: a dropped future loses packets.
    pub async fn next(&mut self) -> Result<LinkEvent, Fault> {
        match self {
            Self::V311(link) => link.next().await,
            Self::V5(link) => link.next().await,
        }
    }

    /// Asks for the subscriptions; [`LinkEvent::Subscribed`] answers.
    pub fn subscribe<'a>(&self, subscriptions: impl Iterator<Item = &'a (String, Qos)>) -> Result<(), Fault> {
        match self {
            Self::V311(link) => link.subscribe(subscriptions),
            Self::V5(link) => link.subscribe(subscriptions),
        }
    }

    /// Whether publishes wait for an acknowledgement.
    pub fn awaits_acknowledgement(&self) -> bool {
        match self {
            Self::V311(link) => link.awaits_acknowledgement(),
            Self::V5(link) => link.awaits_acknowledgement(),
        }
    }

    /// Whether it holds nothing that is to be sent, or sent again.
    pub fn is_idle(&self) -> bool {
        match self {
            Self::V311(link) => link.is_idle(),
            Self::V5(link) => link.is_idle(),
        }
    }

    /// Drops the connection without a word, and keeps the rest for the next one.
    pub fn hang_up(&mut self) {
        match self {
            Self::V311(link) => link.hang_up(),
            Self::V5(link) => link.hang_up(),
        }
    }
}

/// The publishing half of a [`Link`].
#[derive(Clone)]
pub(super) enum Outlet {
    V311(v4::Outlet),
    V5(v5::Outlet),
}

impl Outlet {
    /// The size of the packet on the wire, in bytes.
    pub fn packet_size(&self, publish: &Publish) -> usize {
        match self {
            Self::V311(_) => v4::packet_size(publish),
            Self::V5(_) => v5::packet_size(publish),
        }
    }

    /// Hands a message to the link. Messages go out in the order in which this resolves.
    pub async fn publish(&self, publish: &Publish) -> Result<Receipt, Unacknowledged> {
        match self {
            Self::V311(outlet) => outlet.publish(publish).await.map(Receipt::V311),
            Self::V5(outlet) => outlet.publish(publish).await.map(Receipt::V5),
        }
    }

    /// Sends DISCONNECT when what was published is acknowledged, or gives up after `within`. The link then ends with
    /// [`Fault::Finished`].
    pub fn disconnect(&self, end_session: bool, within: Duration) {
        match self {
            Self::V311(outlet) => outlet.disconnect(within),
            Self::V5(outlet) => outlet.disconnect(end_session, within),
        }
    }
}

/// The claim to an acknowledgement.
pub(super) enum Receipt {
    V311(v4::Receipt),
    V5(v5::Receipt),
}

impl Receipt {
    /// Waits for the acknowledgement, through reconnects that resume the session.
    pub async fn acknowledged(self) -> Result<Ack, Unacknowledged> {
        match self {
            Self::V311(receipt) => receipt.acknowledged().await,
            Self::V5(receipt) => receipt.acknowledged().await,
        }
    }
}

/// Why an acknowledgement will not come.
#[derive(Debug)]
pub(super) enum Unacknowledged {
    /// The link has forgotten the message, with its connection or its session. It is ours to send again.
    Lost,
    /// The broker, or the encoding, refuses it.
    Refused(PublishError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::MqttOptions;

    #[tokio::test]
    async fn a_link_that_was_handed_a_message_is_not_idle() {
        let settled = MqttOptions::new("mqtt://localhost".parse().unwrap(), "client").settle().unwrap();
        for version in [Version::V311, Version::V5] {
            for qos in [Qos::AtMostOnce, Qos::ExactlyOnce] {
                let link = Link::new(version, &settled, Beginning::Clean);
                assert!(link.is_idle(), "{version}");
                let receipt = link.outlet().publish(&Publish::new("topic", "x", qos)).await;
                assert!(receipt.is_ok() && !link.is_idle(), "{version} {qos:?}");
            }
        }
    }
}
