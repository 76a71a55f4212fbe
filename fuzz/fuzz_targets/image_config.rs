#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wasmproxy::fuzzing::image_config(data));
