//! A device of old, as small as it can be: it asks by `app_name` alone, knows two topics and four fields, and speaks
//! MQTT 3.1.1 by a library, none of our own code.

pub mod assembly;
mod delivery;

use std::time::Instant;

use rumqttc_v4::{AsyncClient, Broker, Event, MqttOptions, Packet, PublishOptions, QoS, Transport};
use rustls::ClientConfig;
use serde_json::json;
use tokio::{sync::mpsc, task::JoinHandle};

use assembly::{Assembly, Taken};

/// Room for a chunk of the largest size that these tests use, in bytes.
const LARGEST_PACKET: usize = 2 << 20;

/// How to reach a broker.
#[derive(Clone, Default)]
pub struct Access {
    pub port: u16,
    pub user: Option<(&'static str, &'static str)>,
    pub tls: Option<ClientConfig>,
}

/// A device that is connected and hears the chunks of its channel.
pub struct OldDevice {
    client: AsyncClient,
    requests: String,
    chunks: mpsc::UnboundedReceiver<Vec<u8>>,
    assembly: Assembly,
    /// Names of which it was sent chunks, asked for or not.
    pub heard: Vec<String>,
    events: JoinHandle<()>,
}

impl OldDevice {
    /// Connects as `id`, and returns once the broker has confirmed the subscription.
    pub async fn connect(access: &Access, id: &str, prefix: &str) -> Self {
        let mut options = MqttOptions::new(id, Broker::tcp("127.0.0.1", access.port));
        options.set_max_packet_size(LARGEST_PACKET, LARGEST_PACKET);
        if let Some((name, password)) = access.user {
            options.set_credentials(name, password);
        }
        if let Some(tls) = &access.tls {
            options.set_transport(Transport::tls_with_config(tls.clone().into()));
        }
        let (client, mut events) = AsyncClient::builder(options).build();
        client.subscribe(format!("{prefix}/registry/server"), QoS::AtLeastOnce).await.unwrap();
        while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}

        // Without a bound: acknowledgements must not wait until somebody gathers.
        let (sender, chunks) = mpsc::unbounded_channel();
        // An interrupted poll would lose packets, so it has a task of its own.
        let events = tokio::spawn(async move {
            while let Ok(event) = events.poll().await {
                if let Event::Incoming(Packet::Publish(publish)) = event
                    && sender.send(publish.payload.to_vec()).is_err()
                {
                    return;
                }
            }
        });
        let (assembly, heard) = (Assembly::default(), Vec::new());
        Self { client, requests: format!("{prefix}/registry/proplet"), chunks, assembly, heard, events }
    }

    /// Says what it wants, and returns when the broker has it.
    pub async fn ask(&self, app_name: &str) {
        let request = json!({"app_name": app_name}).to_string();
        let options = PublishOptions::at_least_once();
        let heard = self.client.publish_tracked(self.requests.as_str(), request, options).await.unwrap();
        heard.wait_async().await.unwrap();
    }

    /// Gathers what it hears until it has all of `app_name`.
    pub async fn gather(&mut self, app_name: &str) -> Vec<u8> {
        loop {
            let payload = self.chunks.recv().await.expect("the device was thrown out by the broker");
            match self.assembly.take(&payload, Instant::now()) {
                Taken::Complete(name, module) if name == app_name => return module,
                Taken::Complete(name, _) | Taken::Part(name) => self.heard.push(name),
            }
        }
    }
}

impl Drop for OldDevice {
    fn drop(&mut self) {
        self.events.abort();
    }
}
