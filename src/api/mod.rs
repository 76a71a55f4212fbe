//! The `WasmProxy` resource: spec, status, conditions and their rules. Pure types, no I/O.
