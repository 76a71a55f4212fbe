//! MQTT 5, on rumqttc's event loop for it.

use std::{fmt, time::Duration};

use rumqttc_v5::{
    AckMode, AsyncClient, ClientError, ConnectReturnCode, ConnectionError, Event, EventLoop, Incoming, NetworkOptions,
    Outgoing, PersistedAckMode, PersistedPubRel, PersistedRequest, PersistedSession, PublishNotice, PublishNoticeError,
    PublishOptions, PublishResult, SessionStore, SessionStoreError, SessionStoreKey, StateError, SubscribeFilterInput,
    TlsConfiguration, Transport,
    mqttbytes::{
        self, QoS,
        v5::{
            DisconnectProperties, DisconnectReasonCode, PubAckReason, PubRecReason, PublishProperties,
            SubscribeReasonCode,
        },
    },
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

/// Messages that the broker may send before it has our acknowledgement of the first. It bounds what waits in a socket's
/// buffers while the application is busy.
const RECEIVE_MAXIMUM: u16 = 16;

pub(super) struct Link {
    events: Box<EventLoop>,
    client: AsyncClient,
    stage: Stage,
    delivered: Delivered,
    interrupt: Interrupt,
}

impl Link {
    pub fn new(settled: &Settled, beginning: Beginning) -> Self {
        let interrupt = Interrupt::default();
        let options = library_options(settled, beginning, &interrupt);
        let (client, events) = AsyncClient::builder(options).unbounded().build();
        let (stage, delivered) = (Stage::Opening, Delivered::default());
        Self { events: Box::new(events), client, stage, delivered, interrupt }
    }

    pub fn outlet(&self) -> Outlet {
        Outlet(self.client.clone())
    }

    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    pub fn renew(&mut self, settled: &Settled) {
        authenticate(&mut self.events.options, settled);
    }

    pub async fn next(&mut self) -> Result<LinkEvent, Fault> {
        match self.events.poll().await {
            Ok(event) => Ok(self.translate(event)),
            Err(error) => {
                let fault = fault(&error, self.stage);
                self.stage = Stage::Opening;
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
        self.stage = Stage::Opening;
    }

    fn translate(&mut self, event: Event) -> LinkEvent {
        match event {
            Event::Incoming(Incoming::ConnAck(connack)) => {
                self.stage = Stage::Open;
                if !connack.session_present {
                    self.delivered.forget();
                }
                self.events.options.clear_session_store();
                LinkEvent::Connected {
                    max_packet_size: connack.properties.and_then(|p| p.max_packet_size),
                    resumed: connack.session_present,
                }
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

#[derive(Clone)]
pub(super) struct Outlet(AsyncClient);

impl Outlet {
    pub async fn publish(&self, publish: &Publish) -> Result<Receipt, Unacknowledged> {
        let mut options = PublishOptions::new(library_qos(publish.qos));
        if let Some(properties) = library_properties(&publish.properties) {
            options = options.properties(properties);
        }
        match self.0.publish_tracked(publish.topic.clone(), publish.payload.clone(), options).await {
            Ok(notice) => Ok(Receipt { notice, topic: publish.topic.clone() }),
            Err(ClientError::InvalidRequest(_)) => Err(Unacknowledged::Refused(PublishError::InvalidTopic)),
            Err(_) => Err(Unacknowledged::Lost),
        }
    }

    pub fn disconnect(&self, end_session: bool, within: Duration) {
        let properties = DisconnectProperties {
            session_expiry_interval: end_session.then_some(0),
            reason_string: None,
            user_properties: Vec::new(),
            server_reference: None,
        };
        let reason = DisconnectReasonCode::NormalDisconnection;
        // Refused only where the link has ended already.
        let _ = self.0.try_disconnect_with_properties_timeout(reason, properties, within);
    }
}

pub(super) struct Receipt {
    notice: PublishNotice,
    topic: String,
}

impl Receipt {
    pub async fn acknowledged(self) -> Result<Ack, Unacknowledged> {
        match self.notice.wait_async().await {
            Ok(PublishResult::Qos1(puback)) => match puback.reason {
                PubAckReason::Success => Ok(Ack::default()),
                PubAckReason::NoMatchingSubscribers => Ok(Ack { no_subscribers: true }),
                PubAckReason::NotAuthorized => Err(PublishError::NotAuthorized { topic: self.topic }),
                PubAckReason::QuotaExceeded => Err(PublishError::QuotaExceeded),
                other => Err(PublishError::Rejected { reason: words(other) }),
            },
            Ok(PublishResult::Qos2PubRecRejected(pubrec)) => Err(match pubrec.reason {
                PubRecReason::NotAuthorized => PublishError::NotAuthorized { topic: self.topic },
                PubRecReason::QuotaExceeded => PublishError::QuotaExceeded,
                other => PublishError::Rejected { reason: words(other) },
            }),
            // Once PUBREC is here the broker has the message, whatever PUBCOMP says.
            Ok(PublishResult::Qos0Flushed | PublishResult::Qos2Completed(_)) => Ok(Ack::default()),
            Err(
                PublishNoticeError::Recv
                | PublishNoticeError::SessionReset
                | PublishNoticeError::BrokerOnlySessionResume
                | PublishNoticeError::Qos0NotFlushed
                | PublishNoticeError::SessionPersistence(_),
            ) => return Err(Unacknowledged::Lost),
            Err(other) => Err(PublishError::Rejected { reason: other.to_string() }),
        }
        .map_err(Unacknowledged::Refused)
    }
}

/// The size of the packet on the wire, in bytes.
pub(super) fn packet_size(publish: &Publish) -> usize {
    let properties = library_properties(&publish.properties);
    let mut packet =
        mqttbytes::v5::Publish::new(&*publish.topic, library_qos(publish.qos), publish.payload.clone(), properties);
    packet.pkid = 1;
    packet.size()
}

fn library_options(settled: &Settled, beginning: Beginning, interrupt: &Interrupt) -> rumqttc_v5::MqttOptions {
    let options = &settled.options;
    let broker = (options.url.host(), options.url.port());
    let mut library = rumqttc_v5::MqttOptions::new(&options.client_id, broker);
    library
        .set_keep_alive(u16::try_from(options.keep_alive.as_secs()).unwrap_or(u16::MAX))
        .set_connect_timeout(options.timeout)
        .set_max_packet_size(u32::try_from(options.max_packet_size).ok())
        .set_receive_maximum(Some(RECEIVE_MAXIMUM))
        .set_outgoing_inflight_upper_limit(options.window)
        .set_ack_mode(AckMode::Manual);
    match options.session {
        Session::Persistent { expiry } if beginning == Beginning::Configured => {
            library.set_clean_start(false).set_session_expiry_interval(Some(whole_seconds(expiry)));
            library.set_session_store(FormerLife(former_session(options)));
        }
        _ => {
            library.set_clean_start(true);
        }
    }
    authenticate(&mut library, settled);
    let (stall, interrupt) = (options.timeout, interrupt.clone());
    library.set_socket_connector(move |address: String, network: NetworkOptions| {
        socket::dial(address, network, stall, interrupt.clone())
    });
    library
}

/// Who we are, and whom we trust, from the next connection on.
fn authenticate(library: &mut rumqttc_v5::MqttOptions, settled: &Settled) {
    if let Some(tls) = &settled.tls {
        library.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls.clone())));
    }
    match &settled.options.credentials {
        Some(Credentials { username, password: Some(password) }) => library.set_credentials(username, password.clone()),
        Some(Credentials { username, password: None }) => library.set_username(username),
        None => library.clear_auth(),
    };
}

/// What a new process knows of the session that the broker has kept: nothing, which must be said, or else the library sends
/// nothing that needs a packet identifier. At QoS 2 the broker may hold messages of a former life until they are released:
/// releasing an identifier that it does not know is harmless (section 4.3.3), publishing anew under one that it does know
/// loses the message.
fn former_session(options: &MqttOptions) -> PersistedSession {
    let releases = if options.exactly_once { options.window } else { 0 };
    PersistedSession {
        format_version: 1,
        client_id: options.client_id.clone(),
        clean_start: false,
        session_expiry_interval: None,
        outgoing_inflight_upper_limit: Some(options.window),
        ack_mode: PersistedAckMode::Manual,
        last_pkid: 0,
        last_puback: 0,
        replay: (1..=releases).map(|pkid| PersistedRequest::PubRel(PersistedPubRel { pkid })).collect(),
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

fn message(publish: mqttbytes::v5::Publish) -> LinkEvent {
    let Ok(topic) = String::from_utf8(publish.topic.into()) else {
        return LinkEvent::Other;
    };
    LinkEvent::Message(Message {
        topic,
        payload: publish.payload,
        retain: publish.retain,
        properties: publish.properties.map(properties).unwrap_or_default(),
    })
}

fn library_qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

fn library_properties(properties: &Properties) -> Option<PublishProperties> {
    (!properties.is_empty()).then(|| PublishProperties {
        content_type: properties.content_type.clone(),
        user_properties: properties.user.clone(),
        message_expiry_interval: properties.message_expiry.map(whole_seconds),
        ..PublishProperties::default()
    })
}

fn properties(library: PublishProperties) -> Properties {
    Properties {
        content_type: library.content_type,
        user: library.user_properties,
        message_expiry: library.message_expiry_interval.map(|seconds| Duration::from_secs(seconds.into())),
    }
}

fn denial(code: &SubscribeReasonCode) -> Option<String> {
    match code {
        SubscribeReasonCode::Success(_) => None,
        other => Some(words(other)),
    }
}

fn fault(error: &ConnectionError, stage: Stage) -> Fault {
    match error {
        ConnectionError::Io(error) => Fault::Unreachable(error.to_string()),
        ConnectionError::Timeout(_) => Fault::NoAnswer,
        ConnectionError::Tls(error) => Fault::from_tls(error),
        ConnectionError::ConnectionRefused(code) => refusal(*code),
        ConnectionError::MqttState(error) => state_fault(error, stage),
        ConnectionError::RequestsDone | ConnectionError::DisconnectTimeout => Fault::Finished,
        other => Fault::Protocol(other.to_string()),
    }
}

fn state_fault(error: &StateError, stage: Stage) -> Fault {
    match error {
        StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)) => {
            Fault::from_io(error, stage)
        }
        // A broker that does not keep to the limit that we announce.
        StateError::Deserialization(mqttbytes::Error::PayloadSizeLimitExceeded { pkt_size, .. }) => {
            Fault::Oversized(*pkt_size)
        }
        StateError::ConnectionAborted if stage == Stage::Opening => Fault::HungUp,
        StateError::ConnectionAborted => Fault::Lost("closed by the broker".to_owned()),
        StateError::AwaitPingResp => Fault::Silent("no answer to a ping".to_owned()),
        StateError::ServerDisconnect { reason_code, .. } => match reason_code {
            DisconnectReasonCode::SessionTakenOver => Fault::TakenOver,
            DisconnectReasonCode::NotAuthorized => Fault::Forbidden("not authorized".to_owned()),
            DisconnectReasonCode::PacketTooLarge => Fault::Lost("the broker said: packet too large".to_owned()),
            other => Fault::SentAway(words(other)),
        },
        StateError::ProtocolViolation(_) => Fault::Protocol(error.to_string()),
        // An answer that cannot be read says nothing against what we keep for the next connection, but an outgoing packet
        // that cannot be written would be in the way for ever, and the two are not told apart.
        other => Fault::Unusable(other.to_string()),
    }
}

/// A reason code as people say it: `not authorized`.
fn words(code: impl fmt::Debug) -> String {
    let mut words = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

fn refusal(code: ConnectReturnCode) -> Fault {
    use ConnectReturnCode as Code;
    let reason = words(code);
    match code {
        Code::RefusedProtocolVersion | Code::UnsupportedProtocolVersion => Fault::VersionRefused,
        Code::BadUserNamePassword | Code::NotAuthorized | Code::Banned | Code::BadAuthenticationMethod => {
            Fault::Unauthorized(reason)
        }
        Code::ServiceUnavailable
        | Code::ServerUnavailable
        | Code::ServerBusy
        | Code::QuotaExceeded
        | Code::UseAnotherServer
        | Code::ServerMoved
        | Code::ConnectionRateExceeded => Fault::Unavailable(reason),
        _ => Fault::Refused(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_as_large_as_it_is_written() {
        // 1 + 2 bytes of fixed header, 2 + 1 of topic, 2 of identifier, 1 for the properties' length.
        let mut publish = Publish::new("t", vec![0; 200], Qos::AtLeastOnce);
        assert_eq!(packet_size(&publish), 209);
        publish.properties.message_expiry = Some(Duration::from_secs(1));
        assert_eq!(packet_size(&publish), 214);
    }

    #[test]
    fn properties_survive_the_library() {
        let ours = Properties {
            content_type: Some("application/wasm".into()),
            user: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
            message_expiry: Some(Duration::from_secs(300)),
        };
        assert_eq!(properties(library_properties(&ours).unwrap()), ours);
        assert_eq!(library_properties(&Properties::default()), None);
    }

    #[test]
    fn what_a_former_life_left_is_released_only_where_qos_2_is_spoken() {
        let url = "mqtt://localhost".parse().unwrap();
        let options = MqttOptions::new(url, "client");
        assert!(former_session(&options).replay.is_empty());
        assert_eq!(former_session(&MqttOptions { exactly_once: true, ..options }).replay.len(), 4);
    }
}
