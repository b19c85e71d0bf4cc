//! A cluster for one test.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parallel_runtime::DaskPool;

/// The interpreter that has `distributed`.
pub(crate) fn python() -> PathBuf {
    std::env::var_os("PARALLEL_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

/// A scheduler and workers. They end with it.
pub(crate) struct Cluster {
    directory: PathBuf,
    pub(crate) scheduler: Child,
    pub(crate) workers: Vec<Child>,
}

impl Cluster {
    /// With so many workers of one thread.
    pub(crate) fn start(workers: usize) -> Self {
        Self::start_at(workers, 0)
    }

    /// The same, at a port of this machine.
    pub(crate) fn start_at(workers: usize, port: u16) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("parallel-cluster-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let scheduler = Command::new(python())
            .args(["-m", "dask", "scheduler", "--host", "127.0.0.1", "--no-dashboard", "--port", &port.to_string()])
            .arg("--scheduler-file")
            .arg(directory.join("scheduler.json"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(directory.join("scheduler.log")).unwrap())
            .spawn()
            .unwrap();
        let mut cluster = Self { directory, scheduler, workers: Vec::new() };
        let file = cluster.file();
        cluster.wait_for("a scheduler", || fs::read_to_string(&file).is_ok_and(|text| text.contains("address")));
        for _ in 0..workers {
            cluster.add_worker();
        }
        cluster.wait_for_workers(workers);
        cluster
    }

    /// The file that describes it.
    pub(crate) fn file(&self) -> String {
        self.directory.join("scheduler.json").to_str().unwrap().to_owned()
    }

    /// The address of its scheduler.
    pub(crate) fn address(&self) -> String {
        let text = fs::read_to_string(self.file()).unwrap();
        let start = text.find("tcp://").unwrap();
        text[start..].split('"').next().unwrap().to_owned()
    }

    pub(crate) fn add_worker(&mut self) {
        let log = self.directory.join(format!("worker-{}.log", self.workers.len()));
        let worker = Command::new(python())
            .args(["-m", "dask", "worker", "--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard", "--no-nanny"])
            .args(["--death-timeout", "30", "--scheduler-file", &self.file(), "--local-directory"])
            .arg(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log).unwrap())
            .spawn()
            .unwrap();
        self.workers.push(worker);
    }

    /// Waits until so many workers have ever joined.
    pub(crate) fn wait_for_workers(&self, count: usize) {
        let joined = |number: usize| {
            let log = fs::read_to_string(self.directory.join(format!("worker-{number}.log")));
            log.is_ok_and(|log| log.contains("Registered to"))
        };
        self.wait_for("workers", || (0..count).all(joined));
    }

    fn wait_for(&self, what: &str, mut done: impl FnMut() -> bool) {
        for _ in 0..2400 {
            if done() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{what} did not come: see {}", self.directory.display());
    }

    pub(crate) fn pool(&self) -> DaskPool {
        DaskPool::connect_to(self.address())
    }

    pub(crate) fn kill_worker(&mut self, number: usize) {
        self.workers[number].kill().unwrap();
        self.workers[number].wait().unwrap();
    }

    pub(crate) fn kill_scheduler(&mut self) {
        self.scheduler.kill().unwrap();
        self.scheduler.wait().unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.workers.iter_mut().chain([&mut self.scheduler]) {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}
