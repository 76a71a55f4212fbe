//! Values as people write them, and what to write where they are wrong.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::{
    api::quantity::{self, InvalidQuantity},
    mqtt::{BrokerUrl, InvalidQos, Qos},
};

/// A broker's address; where only the scheme is missing, the error says what to write.
pub(super) fn broker(text: &str) -> Result<BrokerUrl, String> {
    text.parse().map_err(|error: crate::mqtt::InvalidBrokerUrl| {
        // One with a password in it makes no address, and is not repeated.
        let meant = (!text.contains("://")).then(|| format!("mqtt://{text}").parse::<BrokerUrl>().ok()).flatten();
        match meant.map(|url| url.address()) {
            Some(address) => {
                format!("a broker's address begins with its scheme: write mqtt://{address}, or mqtts:// for TLS")
            }
            None => error.to_string(),
        }
    })
}

/// A time with its unit.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("a time has a unit: write {text}s for seconds, or {text}m for minutes"));
    }
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("it must be longer than nothing: write a time as in 90s or 5m".to_owned()),
        Ok(time) => Ok(time),
        Err(_) => Err("write a number and its unit, as in 90s, 5m or 1h30m".to_owned()),
    }
}

/// A quality of service.
pub(super) fn qos(text: &str) -> Result<Qos, String> {
    let level: u8 = text.parse().map_err(|_| "use 0, 1 or 2".to_owned())?;
    Qos::try_from(level).map_err(|error: InvalidQos| error.to_string())
}

/// A quantity as in a resource; `GiB` is as good as `Gi`.
pub(super) fn size(text: &str) -> Result<u64, InvalidQuantity> {
    quantity::bytes(&Quantity(text.trim_end_matches('B').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_is_given_one() {
        for (text, meant) in [
            ("127.0.0.1:1883", "write mqtt://127.0.0.1:1883,"),
            ("localhost:1884", "write mqtt://localhost:1884,"),
            ("broker.example", "write mqtt://broker.example:1883,"),
            ("http://broker.example", "use mqtt, mqtts, tcp or ssl"),
        ] {
            let error = broker(text).unwrap_err();
            assert!(error.contains(meant), "{text}: {error}");
        }
        assert!(!broker("user:hunter2@broker").unwrap_err().contains("hunter2"));
        assert!(broker("mqtts://broker.example").is_ok());
    }

    #[test]
    fn a_time_without_a_unit_is_given_one() {
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert!(time("5").unwrap_err().contains("write 5s for seconds"));
        for text in ["", "5 parsecs", "-5s", "0s"] {
            assert!(time(text).unwrap_err().contains("90s"), "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("7", 7), ("500MB", 500_000_000), ("1GiB", 1 << 30), ("2Mi", 2 << 20)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "-1", "1.5G"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
