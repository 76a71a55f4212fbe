//! The other end: gathers chunks, asks again for what is missing, verifies.
//!
//! [`fetch()`] brings one module into one file, in the full dialect of the [protocol](crate::protocol), and says on the
//! way what happens ([`Event`]). It knows nothing of terminals, and nothing of what runs at the other end.
//!
//! ```text
//!   mqtt ──messages──► hearing ──chunks, notices──► gathering ──► what to write, what to ask
//!     ▲                (read, or ignored)           │ subject: which module, and whom to believe
//!     │                                             │ assembly: which chunks are here
//!     │                                             │ patience: when to ask, when to give up
//!     │                                             │ window: how much to ask for at once
//!     └────── requests, receipt ────── fetch ◄──────┘
//!                                        └──────► file (written in place, verified, renamed)
//! ```
//!
//! `gathering` decides and does nothing; `fetch` does and decides nothing. What a device trusts is the digest alone:
//! chunks come from a channel on which others speak too, so each is checked against what the first one announced, the
//! whole against its digest, and everything that a message can make it do is bounded.

mod assembly;
mod error;
mod event;
mod fetch;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gathering;
mod hearing;
mod options;
mod patience;
mod reference;
mod subject;
mod window;

pub use self::{
    assembly::{MAX_CHUNKS, TooManyChunks, Whole},
    error::{FetchError, ReceiptError, Stall},
    event::{Asked, Cause, Event},
    fetch::{Fetched, fetch},
    file::FileError,
    options::{FetchOptions, Listen},
    reference::{InvalidReference, Reference},
    subject::{MAX_CHANGES, MAX_MISMATCHES},
};
