//! MQTT 3.1.1, on rumqttc's event loop for it.

use std::time::Duration;

use rumqttc_v4::{
    AckMode, AsyncClient, ClientError, ConnectReturnCode, ConnectionError, Event, EventLoop, Incoming, NetworkOptions,
    Outgoing, PersistedAckMode, PersistedPubRel, PersistedRequest, PersistedSession, PublishNotice, PublishNoticeError,
    PublishOptions, PublishResult, QoS, SessionStore, SessionStoreError, SessionStoreKey, StateError,
    SubscribeFilterInput, SubscribeReasonCode, TlsConfiguration, Transport, mqttbytes,
};

use super::{
    delivered::Delivered,
    error::PublishError,
    fault::{Fault, Stage},
    interrupt::Interrupt,
    link::{Beginning, LinkEvent, Unacknowledged},
    message::{Ack, Message, Properties, Publish, Qos, whole_seconds},
    options::{Credentials, MqttOptions, Session, Settled},
    socket,
};

/// The library limits a flush to the time that it allows for connecting, however large the packet. Stalled writes are found
/// by [`socket`]; this only keeps the library from cutting slow ones.
const FLUSH_LIMIT: u64 = 24 * 3600;

pub(super) struct Link {
    events: Box<EventLoop>,
    client: AsyncClient,
    stage: Stage,
    delivered: Delivered,
    interrupt: Interrupt,
    connect_limit: u64,
}

impl Link {
    pub fn new(settled: &Settled, beginning: Beginning) -> Self {
        let interrupt = Interrupt::default();
        let options = library_options(settled, beginning, &interrupt);
        let (client, mut events) = AsyncClient::builder(options).unbounded().build();
        let connect_limit = u64::from(whole_seconds(settled.options.timeout));
        limit(&mut events, connect_limit);
        let (stage, delivered) = (Stage::Opening, Delivered::default());
        Self { events: Box::new(events), client, stage, delivered, interrupt, connect_limit }
    }

    pub fn outlet(&self) -> Outlet {
        Outlet(self.client.clone())
    }

    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    pub fn renew(&mut self, settled: &Settled) {
        authenticate(&mut self.events.mqtt_options, settled);
    }

    pub async fn next(&mut self) -> Result<LinkEvent, Fault> {
        match self.events.poll().await {
            Ok(event) => Ok(self.translate(event)),
            Err(error) => {
                let fault = fault(&error, self.stage);
                self.reset();
                Err(fault)
            }
        }
    }

    pub fn subscribe<'a>(&self, subscriptions: impl Iterator<Item = &'a (String, Qos)>) -> Result<(), Fault> {
        let filters = subscriptions.map(|(filter, qos)| SubscribeFilterInput::new(filter, library_qos(*qos)));
        self.client.try_subscribe_many(filters).map_err(|error| Fault::Unusable(error.to_string()))
    }

    pub fn awaits_acknowledgement(&self) -> bool {
        self.events.state.inflight() > 0
    }

    pub fn is_idle(&self) -> bool {
        let now = self.events.diagnostics();
        let queued = now.queues.pending_len + now.queues.requests_rx_len + now.queues.control_requests_rx_len;
        queued == 0 && now.outbound.outbound_drained
    }

    pub fn hang_up(&mut self) {
        // The library has cleaned up already where the connection broke, and loses what it keeps when told twice.
        if self.stage == Stage::Opening {
            return;
        }
        self.events.clean();
        self.reset();
    }

    fn reset(&mut self) {
        // Left over from the connection that broke; a SUBACK among them would be taken for one of the next connection's.
        self.events.state.events.clear();
        limit(&mut self.events, self.connect_limit);
        self.stage = Stage::Opening;
    }

    fn translate(&mut self, event: Event) -> LinkEvent {
        match event {
            Event::Incoming(Incoming::ConnAck(connack)) => {
                self.stage = Stage::Open;
                if !connack.session_present {
                    self.delivered.forget();
                }
                self.events.mqtt_options.clear_session_store();
                limit(&mut self.events, FLUSH_LIMIT);
                LinkEvent::Connected { max_packet_size: None, resumed: connack.session_present }
            }
            Event::Incoming(Incoming::SubAck(suback)) => {
                LinkEvent::Subscribed(suback.return_codes.iter().map(denial).collect())
            }
            Event::Incoming(Incoming::Publish(publish)) => {
                // Only queued: it leaves with the next poll, when the message has been passed on. Acknowledged by the
                // library itself, a message would be lost if the connection breaks just then.
                let _ = self.client.try_ack(&publish);
                let twice = publish.qos == QoS::ExactlyOnce && self.delivered.is_repetition(publish.pkid, publish.dup);
                if twice { LinkEvent::Other } else { message(publish) }
            }
            Event::Incoming(Incoming::PubRel(release)) => {
                self.delivered.release(release.pkid);
                LinkEvent::Other
            }
            Event::Incoming(Incoming::PubAck(_) | Incoming::PubRec(_) | Incoming::PubComp(_))
            | Event::Outgoing(Outgoing::Publish(_)) => LinkEvent::Progress,
            Event::Outgoing(Outgoing::PingReq) => LinkEvent::Ping,
            Event::Incoming(Incoming::PingResp) => LinkEvent::Pong,
            _ => LinkEvent::Other,
        }
    }
}

fn limit(events: &mut EventLoop, seconds: u64) {
    events.network_options.set_connection_timeout(seconds);
}

#[derive(Clone)]
pub(super) struct Outlet(AsyncClient);

impl Outlet {
    pub async fn publish(&self, publish: &Publish) -> Result<Receipt, Unacknowledged> {
        let options = PublishOptions::new(library_qos(publish.qos));
        match self.0.publish_tracked(publish.topic.clone(), publish.payload.clone(), options).await {
            Ok(notice) => Ok(Receipt(notice)),
            Err(ClientError::InvalidRequest(_)) => Err(Unacknowledged::Refused(PublishError::InvalidTopic)),
            Err(_) => Err(Unacknowledged::Lost),
        }
    }

    pub fn disconnect(&self, within: Duration) {
        // Refused only where the link has ended already.
        let _ = self.0.try_disconnect_with_timeout(within);
    }
}

pub(super) struct Receipt(PublishNotice);

impl Receipt {
    pub async fn acknowledged(self) -> Result<Ack, Unacknowledged> {
        match self.0.wait_async().await {
            Ok(PublishResult::Qos0Flushed | PublishResult::Qos1(_) | PublishResult::Qos2Completed(_)) => {
                Ok(Ack::default())
            }
            Err(
                PublishNoticeError::Recv
                | PublishNoticeError::SessionReset
                | PublishNoticeError::Qos0NotFlushed
                | PublishNoticeError::SessionPersistence(_),
            ) => Err(Unacknowledged::Lost),
            Err(other) => Err(Unacknowledged::Refused(PublishError::Rejected { reason: other.to_string() })),
        }
    }
}

/// The size of the packet on the wire, in bytes.
pub(super) fn packet_size(publish: &Publish) -> usize {
    let mut packet =
        mqttbytes::v4::Publish::from_bytes(&*publish.topic, library_qos(publish.qos), publish.payload.clone());
    packet.pkid = 1;
    packet.size()
}

fn library_options(settled: &Settled, beginning: Beginning, interrupt: &Interrupt) -> rumqttc_v4::MqttOptions {
    let options = &settled.options;
    let clean = beginning == Beginning::Clean || options.session == Session::Clean;
    let broker = (options.url.host(), options.url.port());
    let mut library = rumqttc_v4::MqttOptions::new(&options.client_id, broker);
    library
        .set_clean_session(clean)
        .set_keep_alive(u16::try_from(options.keep_alive.as_secs()).unwrap_or(u16::MAX))
        .set_max_packet_size(options.max_packet_size, options.max_packet_size)
        .set_inflight(options.window)
        .set_ack_mode(AckMode::Manual);
    authenticate(&mut library, settled);
    if !clean && options.exactly_once {
        library.set_session_store(FormerLife(releases(options)));
    }
    let (stall, interrupt) = (options.timeout, interrupt.clone());
    library.set_socket_connector(move |address: String, network: NetworkOptions| {
        socket::dial(address, network, stall, interrupt.clone())
    });
    library
}

/// Who we are, and whom we trust, from the next connection on.
fn authenticate(library: &mut rumqttc_v4::MqttOptions, settled: &Settled) {
    if let Some(tls) = &settled.tls {
        library.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls.clone())));
    }
    match &settled.options.credentials {
        Some(Credentials { username, password: Some(password) }) => library.set_credentials(username, password.clone()),
        Some(Credentials { username, password: None }) => library.set_username(username),
        None => library.clear_auth(),
    };
}

/// What the broker may remember of a former life of this client at QoS 2: messages that it holds until they are released.
/// Releasing an identifier that it does not know is harmless (section 4.3.3), publishing anew under one that it does know
/// loses the message.
fn releases(options: &MqttOptions) -> PersistedSession {
    PersistedSession {
        format_version: 1,
        client_id: options.client_id.clone(),
        clean_session: false,
        max_inflight: options.window,
        ack_mode: PersistedAckMode::Manual,
        last_pkid: 0,
        last_puback: 0,
        replay: (1..=options.window).map(|pkid| PersistedRequest::PubRel(PersistedPubRel { pkid })).collect(),
        incoming_qos2: Vec::new(),
    }
}

/// Tells the library of a former life, once: it is taken away at the first CONNACK, before anything is saved.
#[derive(Debug)]
struct FormerLife(PersistedSession);

type StoreFuture<'a, T> = futures::future::BoxFuture<'a, Result<T, SessionStoreError>>;

impl SessionStore for FormerLife {
    fn load<'a>(&'a self, _key: &'a SessionStoreKey) -> StoreFuture<'a, Option<PersistedSession>> {
        Box::pin(async { Ok(Some(self.0.clone())) })
    }

    fn save<'a>(&'a self, _key: &'a SessionStoreKey, _session: &'a PersistedSession) -> StoreFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _key: &'a SessionStoreKey) -> StoreFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}

fn message(publish: rumqttc_v4::Publish) -> LinkEvent {
    let Ok(topic) = String::from_utf8(publish.topic.into()) else {
        return LinkEvent::Other;
    };
    LinkEvent::Message(Message {
        topic,
        payload: publish.payload,
        retain: publish.retain,
        properties: Properties::default(),
    })
}

fn library_qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

fn denial(code: &SubscribeReasonCode) -> Option<String> {
    match code {
        SubscribeReasonCode::Success(_) => None,
        SubscribeReasonCode::Failure => Some("no reason given".to_owned()),
    }
}

fn fault(error: &ConnectionError, stage: Stage) -> Fault {
    match error {
        ConnectionError::Io(error) => Fault::Unreachable(error.to_string()),
        ConnectionError::NetworkTimeout => Fault::NoAnswer,
        ConnectionError::Tls(error) => Fault::from_tls(error),
        ConnectionError::ConnectionRefused(code) => refusal(*code),
        ConnectionError::MqttState(error) => state_fault(error, stage),
        ConnectionError::FlushTimeout => Fault::Silent("it took no more bytes".to_owned()),
        ConnectionError::RequestsDone | ConnectionError::DisconnectTimeout => Fault::Finished,
        other => Fault::Protocol(other.to_string()),
    }
}

fn state_fault(error: &StateError, stage: Stage) -> Fault {
    match error {
        StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)) => {
            Fault::from_io(error, stage)
        }
        StateError::Deserialization(mqttbytes::Error::PayloadSizeLimitExceeded(size)) => Fault::Oversized(*size),
        StateError::ConnectionAborted if stage == Stage::Opening => Fault::HungUp,
        StateError::ConnectionAborted => Fault::Lost("closed by the broker".to_owned()),
        StateError::AwaitPingResp => Fault::Silent("no answer to a ping".to_owned()),
        StateError::ProtocolViolation(_) => Fault::Protocol(error.to_string()),
        // An answer that cannot be read says nothing against what we keep for the next connection, but an outgoing packet
        // that cannot be written would be in the way for ever, and the two are not told apart.
        other => Fault::Unusable(other.to_string()),
    }
}

fn refusal(code: ConnectReturnCode) -> Fault {
    match code {
        ConnectReturnCode::RefusedProtocolVersion => Fault::VersionRefused,
        ConnectReturnCode::BadUserNamePassword => Fault::Unauthorized("bad user name or password".to_owned()),
        ConnectReturnCode::NotAuthorized => Fault::Unauthorized("not authorized".to_owned()),
        ConnectReturnCode::ServiceUnavailable => Fault::Unavailable("service unavailable".to_owned()),
        ConnectReturnCode::BadClientId => Fault::Refused("client id not accepted".to_owned()),
        ConnectReturnCode::Success => Fault::Protocol("refused with success".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_as_large_as_it_is_written() {
        // 1 + 2 bytes of fixed header, 2 + 1 of topic, 2 of identifier.
        assert_eq!(packet_size(&Publish::new("t", vec![0; 200], Qos::AtLeastOnce)), 208);
        assert_eq!(packet_size(&Publish::new("t", vec![0; 200], Qos::AtMostOnce)), 206);
    }

    #[test]
    fn the_former_life_is_one_that_the_library_accepts() {
        let url = "mqtt://localhost".parse().unwrap();
        let options = MqttOptions {
            session: Session::Persistent { expiry: Duration::from_secs(1) },
            exactly_once: true,
            ..MqttOptions::new(url, "client")
        };
        assert_eq!(releases(&options).replay.len(), 4);
        let settled = options.settle().unwrap();
        assert!(library_options(&settled, Beginning::Configured, &Interrupt::default()).session_store().is_some());
        assert!(library_options(&settled, Beginning::Clean, &Interrupt::default()).session_store().is_none());
    }
}
