//! A cluster that asks for certificates.

use std::path::Path;
use std::process::{Command, Stdio};

use parallel_runtime::{DaskPool, parallel};

use super::cluster::python;
use super::faults::{is_again, run_again};

#[parallel(mode = "dask")]
fn square(x: u64) -> u64 {
    x * x
}

/// A certificate that is its own authority, and its key.
fn certificate(directory: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(directory)
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
}

#[test]
#[ignore = "needs Python with `distributed`, and openssl"]
fn the_usual_configuration_of_tls_is_used() {
    if is_again() {
        let pool = DaskPool::connect_to(std::env::var("PARALLEL_DASK").unwrap());
        assert_eq!(square::on(&pool).map(0..100)[99], 9801);
        return;
    }
    let directory = std::env::temp_dir().join(format!("parallel-tls-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    certificate(&directory);
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let (certificate, key, file) = (path("certificate.pem"), path("key.pem"), path("scheduler.json"));
    let start = |kind: &str| {
        Command::new(python())
            .args([
                "-m",
                "dask",
                kind,
                "--no-dashboard",
                "--scheduler-file",
                &file,
                "--protocol",
                "tls",
                "--host",
                "127.0.0.1",
            ])
            .args(["--tls-ca-file", &certificate, "--tls-cert", &certificate, "--tls-key", &key])
            .args(if kind == "worker" { &["--nthreads", "1", "--no-nanny"][..] } else { &["--port", "0"] })
            .current_dir(&directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let (mut scheduler, mut worker) = (start("scheduler"), start("worker"));
    while !std::fs::exists(&file).unwrap() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let with: &[(&str, &str)] = &[
        ("PARALLEL_DASK", &file),
        ("DASK_DISTRIBUTED__COMM__TLS__CA_FILE", &certificate),
        ("DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT", &certificate),
        ("DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY", &key),
    ];
    let again = run_again("tls::the_usual_configuration_of_tls_is_used", with).output().unwrap();
    let without = run_again("tls::the_usual_configuration_of_tls_is_used", &with[..1]).output().unwrap();
    for child in [&mut worker, &mut scheduler] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    std::fs::remove_dir_all(&directory).unwrap();
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success(), "{said}");
    let said = String::from_utf8_lossy(&without.stderr);
    assert!(!without.status.success() && said.contains("Dask cluster at"), "{said}");
}
