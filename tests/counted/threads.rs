//! A worker's own threads, which nobody else works on.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use tokio::runtime::{Builder, Runtime};

use crate::allocator::Counter;

/// Threads of one name, that of nobody else.
pub struct Threads {
    name: String,
    /// Ends without waiting when dropped, as it must where others wait.
    runtime: Option<Runtime>,
}

impl Threads {
    /// A runtime whose threads are counted, those for what blocks among them.
    pub fn start(counter: &'static Counter) -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        // The kernel keeps 15 bytes of it.
        let name = format!("counted-{}", STARTED.fetch_add(1, Relaxed));
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(&name)
            // What a thread has read is forgotten with it.
            .thread_keep_alive(Duration::from_secs(3600))
            .on_thread_start(|| counter.take_on_this_thread())
            .enable_all()
            .build();
        Self { name, runtime: Some(runtime.unwrap()) }
    }

    /// Calls something that spawns tasks: there they run.
    pub fn spawn_there<T>(&self, call: impl FnOnce() -> T) -> T {
        let _entered = self.runtime.as_ref().unwrap().enter();
        call()
    }

    /// Bytes that these threads have had of files, or of whatever else they `read`; what comes over a socket is received.
    pub fn read_bytes(&self) -> u64 {
        let is_ours = |name: &str| name.trim_end() == self.name;
        let threads = fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path());
        threads
            .filter(|thread| fs::read_to_string(thread.join("comm")).is_ok_and(|name| is_ours(&name)))
            .map(|thread| {
                let io = fs::read_to_string(thread.join("io")).unwrap();
                io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse::<u64>().unwrap()
            })
            .sum()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}
