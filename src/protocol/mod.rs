//! The wire protocol: bytes in, types out and back. No I/O.
