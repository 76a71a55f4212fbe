//! A connection that outlives its broker, and a publish that ends when the broker has acknowledged it.
//!
//! [`connect`] returns at once with a [`Client`] and the messages for its subscriptions. From then on a task keeps a
//! connection up, speaking MQTT 5 or 3.1.1, and says in [`Client::state`] how that goes. [`Client::publish`] ends with the
//! broker's acknowledgement, however many connections that takes.
//!
//! # How it works
//!
//! ```text
//!  Client ──publish──► window ──► turn ──► gate ──► Outlet ──► Link ◄──drive── Driver ◄──spawn── Connection
//!    ▲                (permits)  (order)  (open      (rumqttc's client and     (one              (one after
//!    └──── acknowledged, or lost ◄────────  while     event loop, 3.1.1 or 5)   connection)       the other)
//!                                        connected)
//! ```
//!
//! - `client`: the handle. A publish takes a permit of the window, waits for the gate, hands its message to the link, and
//!   waits for the receipt.
//! - `connection`: the task behind it: which version (`version`), how long to wait, how to end.
//! - `drive`: one connection: CONNECT, SUBSCRIBE, gate open, messages, until it breaks.
//! - `link`, `v4`, `v5`: one type for the two event loops of rumqttc.
//! - `delivered`: what arrived at QoS 2 and must not arrive again.
//! - `suspects`: what the broker may be hanging up on.
//! - `fault`: why a link ended, and what it means. `socket`: a TCP stream that notices a dead peer; `interrupt`: and that can
//!   be ended from outside.
//!
//! # Who sends again
//!
//! A message belongs to the link from the moment it is handed over until its receipt resolves. The link keeps it, with its
//! packet identifier, from one connection to the next, and the library sends it again where the broker has kept the session:
//! so QoS 2 is exactly once, unless the next connection breaks, too, before the library has sent PUBREL again: then it
//! loses track, the link is replaced, and a message may come twice. Where the broker has not, or where the link itself is replaced, the receipt fails, and the
//! publish, which still holds the same payload, hands it over anew. It is never with both.
//!
//! # A message that the broker hangs up on
//!
//! It would come again on every connection. So it is found out (`suspects`), its publish fails, and the link is replaced, since
//! the library cannot be told to forget one message. Replacing a link while it has messages at QoS 2 may send some of them
//! twice; that happens only where nothing as large, or nothing to that topic, was ever taken by the broker, or after many
//! losses.
//!
//! # A message that is too large for us
//!
//! MQTT 3.1.1 has no way to tell the broker what we take. A larger packet is refused by its header, which breaks the
//! connection; a persistent session would bring it back on the next one, for ever. So that session is ended with a clean
//! connection of its own, and the next one begins anew: other messages that waited are lost, our own publishes are not.
//!
//! # Other credentials on the same session
//!
//! [`Client::renew`] ends one connection and begins another, with the same link: the gate is shut, what is in flight is
//! waited for, though not for long, and the socket fails from within. So the driver ends as with any loss of the
//! connection, and what was not acknowledged goes out again on the next one.
//!
//! # Interrupting an event loop loses packets
//!
//! rumqttc's `poll` must not be dropped half-way. So a `Driver` runs in a task that nobody cancels while its link is of use,
//! and everything that could want to interrupt it is turned into an end from within: writes that stall fail (`socket`), pings
//! that are not answered fail (the library), and messages that are not acknowledged in time make the driver hang up.

mod client;
mod connection;
mod delivered;
mod drive;
mod error;
mod fault;
mod interrupt;
mod link;
mod message;
mod options;
mod shared;
mod socket;
mod state;
mod suspects;
mod url;
mod v4;
mod v5;
mod version;

pub use self::{
    client::{Client, SessionEnd, connect},
    error::{ConfigError, PublishError},
    message::{Ack, InvalidQos, Message, Properties, Publish, Qos},
    options::{Credentials, MqttOptions, Session},
    state::{ConnectFailure, ConnectionState, FailureKind},
    url::{BrokerUrl, InvalidBrokerUrl},
    version::{InvalidVersion, Version, VersionPreference},
};
