//! A reference becomes a descriptor, a descriptor becomes verified bytes.
