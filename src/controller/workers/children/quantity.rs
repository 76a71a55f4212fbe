//! Quantities by their value: the API server writes `0.5` as `500m`, and both are the same.

/// A quantity in billionths; `None` where the text is none, or beyond what is reckoned with here.
///
/// The grammar is that of Kubernetes' `resource.Quantity`: a decimal number, and a binary or decimal unit or an exponent.
pub(super) fn billionths(text: &str) -> Option<i128> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, unit) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scaled = match binary(unit) {
        Some(shift) => digits.checked_mul(1_000_000_000)?.checked_mul(1 << shift)?,
        None => digits.checked_mul(power_of_ten(decimal(unit)?.checked_add(9)?)?)?,
    };
    // Beyond the billionth everything is rounded up, as Kubernetes does.
    let divisor = power_of_ten(i32::try_from(fraction.len()).ok()?)?;
    let value = scaled / divisor + i128::from(scaled % divisor != 0);
    Some(if negative { -value } else { value })
}

/// The power of two that a binary unit means.
fn binary(unit: &str) -> Option<u32> {
    let units = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    units.iter().zip(1u32..).find(|(name, _)| **name == unit).map(|(_, power)| 10 * power)
}

/// The power of ten that a decimal unit or an exponent means.
fn decimal(unit: &str) -> Option<i32> {
    let units =
        [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
    let named = units.iter().find(|(name, _)| *name == unit).map(|(_, power)| *power);
    named.or_else(|| unit.strip_prefix(['e', 'E'])?.parse().ok())
}

fn power_of_ten(power: i32) -> Option<i128> {
    10i128.checked_pow(u32::try_from(power).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_differently_is_the_same() {
        for (one, other) in [
            ("0.5", "500m"),
            ("1", "1000m"),
            ("1Gi", "1024Mi"),
            ("1.5Gi", "1536Mi"),
            ("128M", "128000000"),
            ("1e3", "1k"),
            ("1E3", "1k"),
            (".5", "0.500"),
            ("+1", "1."),
            ("1u", "1000n"),
            ("-1", "-1000m"),
        ] {
            assert!(billionths(one).is_some() && billionths(one) == billionths(other), "{one} {other}");
        }
    }

    #[test]
    fn what_differs_is_not() {
        for (one, other) in [("1", "1m"), ("1k", "1Ki"), ("1E", "1Ei"), ("100m", "-100m"), ("1.0000000001", "1")] {
            assert_ne!(billionths(one), billionths(other), "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_quantity_has_no_value() {
        for text in
            ["", ".", "m", "1 Gi", "1gi", "1.2.3", "--1", "one", "1e", "1e99999", "9999999999999999999999999999Ei"]
        {
            assert_eq!(billionths(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = billionths(&text);
        }
    }
}
