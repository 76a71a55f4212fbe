//! How much memory a worker needs.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// What a worker holds whatever it sends: measured at less than 30 MiB, and room for what grows slowly.
const BASE: u64 = 50 * MEBIBYTE;
/// The encoded chunks that a worker holds at most.
const CHUNKS: u64 = 10;
const MEBIBYTE: u64 = 1 << 20;

/// The memory that a worker asks for, and is limited to, where the resource does not say.
///
/// It asks for 50 MiB and twice its budget, which is ten chunks as JSON, a third longer than their bytes: once for the chunks,
/// once for what is on its way through TLS and the kernel. The limit is twice that. At the default of 512,000 bytes these
/// are 64 and 128 MiB, at the largest chunk size 477 and 954 MiB.
pub(super) fn memory(chunk_size: u32) -> (Quantity, Quantity) {
    let encoded = u64::from(chunk_size).div_ceil(3) * 4;
    let request = (BASE + 2 * CHUNKS * encoded).div_ceil(MEBIBYTE);
    (mebibytes(request), mebibytes(2 * request))
}

/// A quantity of so many MiB.
pub(super) fn mebibytes(number: u64) -> Quantity {
    Quantity(format!("{number}Mi"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_chunks_need_more() {
        let of = |chunk_size| {
            let (request, limit) = memory(chunk_size);
            (request.0, limit.0)
        };
        assert_eq!(of(1024), ("51Mi".into(), "102Mi".into()));
        assert_eq!(of(512_000), ("64Mi".into(), "128Mi".into()));
        assert_eq!(of(16 << 20), ("477Mi".into(), "954Mi".into()));
    }
}
