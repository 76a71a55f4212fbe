//! Each file in `examples/` is applied as it stands, or nearly so.

use crate::harness::{Cluster, Playground};

#[test]
fn the_quickstart_brings_a_module_to_a_device() {
    let cluster = Cluster::with_operator();
    let playground = Playground::new(&cluster, "examples");
    playground.quickstart();
    let namespace = playground.namespace();
    namespace.apply_example("device.yaml", "quickstart");
    namespace.wait("condition=complete", "job/device");
    let said = namespace.kubectl(&["logs", "job/device"]);
    assert!(said.contains(", verified, in "), "{said}");
}
