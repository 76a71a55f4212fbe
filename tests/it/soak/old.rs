//! Old devices, as they are: they hear the plain topic, put together what they hear by name, ask, give up after a
//! minute, and may ask again.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rumqttc_v4::{AsyncClient, Broker, Event, MqttOptions, Packet, PublishOptions, QoS};
use serde_json::json;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};
use wasmproxy::digest::Digest;

use super::{
    floor::PREFIX,
    report::{Activity, History},
};
use crate::old_device::assembly::{Assembly, Taken};

/// How long it waits for what it has asked for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it waits after a connection that failed.
const RECONNECT: Duration = Duration::from_millis(200);
const LARGEST_PACKET: usize = 1 << 20;

/// What a device is to do.
#[derive(Clone, Debug)]
pub struct Errand {
    pub number: u64,
    pub name: String,
    /// Where its broker is, on 127.0.0.1.
    pub port: u16,
    /// How often it asks before it despairs.
    pub attempts: u32,
    pub history: History,
}

/// A module that a device has put together.
#[derive(Debug)]
pub struct Completed {
    pub device: u64,
    pub name: String,
    pub digest: Digest,
}

/// What all of them have put together and nobody has looked at.
pub type AllCompleted = Arc<Mutex<Vec<Completed>>>;

enum Heard {
    Subscribed,
    Said(Vec<u8>),
}

/// Runs until the device has what it asked for (`true`) or despairs. All that it puts together on the way it notes.
pub async fn run(errand: Errand, completed: AllCompleted, activity: Activity) -> (Errand, bool) {
    let mut options = MqttOptions::new(format!("old-{}", errand.number), Broker::tcp("127.0.0.1", errand.port));
    options.set_max_packet_size(LARGEST_PACKET, LARGEST_PACKET);
    let (client, mut events) = AsyncClient::builder(options).build();
    let (said, mut hears) = mpsc::unbounded_channel();
    let (subscriber, history) = (client.clone(), errand.history.clone());
    let mut connection = JoinSet::new();
    connection.spawn(async move {
        loop {
            let heard = match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    let _ = subscriber.try_subscribe(format!("{PREFIX}/registry/server"), QoS::AtLeastOnce);
                    continue;
                }
                Ok(Event::Incoming(Packet::SubAck(_))) => Heard::Subscribed,
                Ok(Event::Incoming(Packet::Publish(publish))) => Heard::Said(publish.payload.to_vec()),
                Ok(_) => continue,
                Err(error) => {
                    history.note(format_args!("{error}"));
                    sleep(RECONNECT).await;
                    continue;
                }
            };
            if said.send(heard).is_err() {
                return;
            }
        }
    });
    let mut assembly = Assembly::default();
    for attempt in 1..=errand.attempts {
        let asking = async {
            let mut asked = attempt > 1 && ask(&client, &errand, &activity);
            loop {
                match hears.recv().await.unwrap() {
                    Heard::Subscribed if !asked => asked = ask(&client, &errand, &activity),
                    Heard::Subscribed => {}
                    Heard::Said(payload) => {
                        activity.done();
                        if let Taken::Complete(name, module) = assembly.take(&payload, Instant::now()) {
                            errand.history.note(format_args!("has {name}"));
                            let is_it = name == errand.name;
                            let digest = Digest::of(&module);
                            completed.lock().unwrap().push(Completed { device: errand.number, name, digest });
                            if is_it {
                                return;
                            }
                        }
                    }
                }
            }
        };
        if timeout(PATIENCE, asking).await.is_ok() {
            return (errand, true);
        }
        errand.history.note(format_args!("gives up"));
    }
    (errand, false)
}

fn ask(client: &AsyncClient, errand: &Errand, activity: &Activity) -> bool {
    let request = json!({"app_name": errand.name}).to_string();
    let asked =
        client.try_publish(format!("{PREFIX}/registry/proplet"), request, PublishOptions::at_least_once()).is_ok();
    if asked {
        activity.asked();
        errand.history.note(format_args!("asks"));
    }
    asked
}
