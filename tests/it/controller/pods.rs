//! Workers in Pods, as the controller sees to them: the real kube-controller-manager makes the Pods, and the tests say what
//! becomes of them in the place of a kubelet. No worker runs here.

mod children;
mod conflicts;
mod drift;
mod external;
mod modes;
mod rest;
mod rights;
mod rollout;
mod trouble;
mod yard;
