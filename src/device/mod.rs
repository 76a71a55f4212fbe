//! The other end: gathers chunks, asks again for what is missing, verifies.
