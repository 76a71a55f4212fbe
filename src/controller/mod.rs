//! Reconciles each resource into a worker, and reports into its status.
