//! Which messages at QoS 2 have been passed on already.

use std::collections::HashSet;

/// Packet identifiers of messages at QoS 2 that were passed on and not yet released by the broker.
///
/// The library knows a repetition only once it has sent PUBREC. We pass a message on before that, so that none is lost
/// between the two, and recognize the repetition ourselves if the connection breaks there.
#[derive(Debug, Default)]
pub(super) struct Delivered(HashSet<u16>);

impl Delivered {
    /// Notes a message at QoS 2; says whether it has been passed on before.
    pub fn is_repetition(&mut self, packet_id: u16, dup: bool) -> bool {
        // Without DUP it is another message, whatever we remember (section 3.3.1.1).
        !self.0.insert(packet_id) && dup
    }

    /// PUBREL: the identifier is free for another message.
    pub fn release(&mut self, packet_id: u16) {
        self.0.remove(&packet_id);
    }

    /// The session is a new one.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_passed_on_once_until_it_is_released() {
        let mut delivered = Delivered::default();
        assert!(!delivered.is_repetition(1, false));
        assert!(delivered.is_repetition(1, true));
        delivered.release(1);
        assert!(!delivered.is_repetition(1, false));
    }

    #[test]
    fn a_repetition_of_what_never_arrived_is_passed_on() {
        let mut delivered = Delivered::default();
        assert!(!delivered.is_repetition(1, true));
        delivered.forget();
        assert!(!delivered.is_repetition(1, true));
    }

    #[test]
    fn a_new_message_under_a_remembered_identifier_is_passed_on() {
        let mut delivered = Delivered::default();
        assert!(!delivered.is_repetition(1, false));
        assert!(!delivered.is_repetition(1, false));
    }
}
