//! A device's word that it holds a module: a claim, not a proof.

use serde::{Deserialize, Serialize};

use super::{MAX_APP_NAME, object, request::MAX_REQUEST};
use crate::digest::Digest;

/// Said on the device's own topic, so that a broker's access list can bind it to the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The reference as the device asked for it.
    pub app_name: String,
    /// The digest that it verified.
    pub digest: Digest,
}

impl Receipt {
    /// Reads a receipt; `None` for anything else.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let receipt: Self = (payload.len() <= MAX_REQUEST).then(|| object(payload))??;
        (receipt.app_name.len() <= MAX_APP_NAME).then_some(receipt)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_receipt_reads_back() {
        let receipt = Receipt { app_name: "add:1".to_owned(), digest: Digest::of(b"add") };
        assert_eq!(Receipt::parse(&serde_json::to_vec(&receipt).unwrap()), Some(receipt));
    }

    #[test]
    fn anything_else_is_no_receipt() {
        let huge = format!(r#"{{"app_name":"a","digest":"{}","x":"{}"}}"#, Digest::of(b""), "x".repeat(MAX_REQUEST));
        let list = format!(r#"["a", "{}"]"#, Digest::of(b""));
        for payload in ["", "{}", r#"{"app_name":"a","digest":"md5:0"}"#, &list, &huge] {
            assert_eq!(Receipt::parse(payload.as_bytes()), None);
        }
    }

    proptest! {
        #[test]
        fn any_receipt_reads_back_within_its_bounds(app_name in "(?s).{0,600}", module: Vec<u8>) {
            let receipt = Receipt { app_name, digest: Digest::of(&module) };
            let json = serde_json::to_vec(&receipt).unwrap();
            let fits = receipt.app_name.len() <= MAX_APP_NAME && json.len() <= MAX_REQUEST;
            prop_assert_eq!(Receipt::parse(&json), fits.then_some(receipt));
        }
    }
}
