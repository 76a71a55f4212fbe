//! Quantities and durations: what people write, as numbers.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The shortest interval between two looks at a tag: registries limit how often one may ask.
pub const INTERVAL_MIN: Duration = Duration::from_secs(10);

/// The text is no quantity of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no quantity of bytes: write a whole number and k, M, G, T, Ki, Mi, Gi, Ti or nothing, as in 50M")]
pub struct InvalidQuantity(String);

/// The text is no interval.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no interval: write a duration of at least 10s, as in 5m, 90s or 1h30m")]
pub struct InvalidInterval(String);

/// The number of bytes that a quantity stands for: [`parse_bytes`] of its text.
///
/// # Errors
///
/// Where the quantity is not of that form, or larger than a `u64`.
pub fn bytes(quantity: &Quantity) -> Result<u64, InvalidQuantity> {
    parse_bytes(&quantity.0)
}

/// The number of bytes that a text such as `512Mi` stands for.
///
/// The whole numbers of Kubernetes' `resource.Quantity`; its fractions, exponents and units beyond tera have no use
/// here.
///
/// # Errors
///
/// Where the text is not of that form, or means more than a `u64` holds.
pub fn parse_bytes(text: &str) -> Result<u64, InvalidQuantity> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let scale: u64 = match unit {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return Err(InvalidQuantity(text.to_owned())),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(scale))
        .ok_or_else(|| InvalidQuantity(text.to_owned()))
}

/// The duration between two looks at a tag.
///
/// # Errors
///
/// Where the text is no duration, or one shorter than [`INTERVAL_MIN`].
pub fn interval(text: &str) -> Result<Duration, InvalidInterval> {
    humantime::parse_duration(text)
        .ok()
        .filter(|interval| *interval >= INTERVAL_MIN)
        .ok_or_else(|| InvalidInterval(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quantity(text: &str) -> Result<u64, InvalidQuantity> {
        bytes(&Quantity(text.to_owned()))
    }

    #[test]
    fn units_are_those_of_kubernetes() {
        for (text, expected) in
            [("512000", 512_000), ("50M", 50_000_000), ("1k", 1_000), ("1Ki", 1_024), ("1Gi", 1_073_741_824), ("0", 0)]
        {
            assert_eq!(quantity(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_whole_number_of_bytes_is_refused_with_an_example() {
        for text in ["", "M", "1.5Gi", "-1", "1e3", "1 Gi", "1gi", "1Pi", "18446744073709551616", "99999999999Ti"] {
            let error = quantity(text).expect_err(text).to_string();
            assert!(error.contains(&format!("`{text}`")) && error.contains("50M"), "{error}");
        }
    }

    #[test]
    fn a_bare_number_reads_as_bytes() {
        let bare: Quantity = serde_json::from_str("1048576").expect("an integer is a quantity");
        assert_eq!(bytes(&bare), Ok(1 << 20));
    }

    #[test]
    fn intervals_are_written_as_everywhere_in_kubernetes() {
        for (text, seconds) in [("5m", 300), ("90s", 90), ("1h30m", 5_400), ("10s", 10)] {
            assert_eq!(interval(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn intervals_below_the_least_are_refused() {
        for text in ["", "9s", "5", "often", "-5m", "99999999999999999999h"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_parsing_panic(text in ".*") {
            let _ = quantity(&text);
            let _ = interval(&text);
        }

        #[test]
        fn whole_numbers_of_mebibytes_read_exactly(number in 0u64..(1 << 40)) {
            prop_assert_eq!(quantity(&format!("{number}Mi")), Ok(number << 20));
        }
    }
}
