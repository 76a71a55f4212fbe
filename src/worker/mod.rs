//! One channel: requests in, transfers, chunks out, progress.
