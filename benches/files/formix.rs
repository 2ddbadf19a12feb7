//! A Python process with formix-pubsub, which measures itself; see `formix.py`.

#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::Result;

const SCRIPT: &str = include_str!("formix.py");

/// The Python of a virtual environment in which formix-pubsub is installed: `PUBSUB_FORMIX_PYTHON`, else the one that
/// `make test` sets up. An error says what is wrong with it.
pub fn python() -> Result<PathBuf> {
    let python = std::env::var_os("PUBSUB_FORMIX_PYTHON")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("build/venv/bin/python"), PathBuf::from);
    let found = Command::new(&python).args(["-c", "import pubsub.channel"]).output();
    match found {
        Ok(output) if output.status.success() => Ok(python),
        Ok(output) => Err(format!(
            "{} cannot import formix-pubsub: {}",
            python.display(),
            String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default()
        )
        .into()),
        Err(error) => Err(format!("{} cannot be run: {error}", python.display()).into()),
    }
}

/// One formix-pubsub process.
pub struct Formix {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Formix {
    /// A process that uses the store at `home`, which is made if need be.
    pub fn start(python: &Path, home: &Path) -> Result<Formix> {
        std::fs::create_dir_all(home)?;
        let mut child = Command::new(python)
            .args(["-u", "-c", SCRIPT])
            .env("PUBSUB_HOME", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let requests = child.stdin.take().ok_or("no pipe to Python")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no pipe from Python")?);
        Ok(Formix { child, requests, answers })
    }

    pub fn send(&mut self, request: Value) -> Result<()> {
        writeln!(self.requests, "{request}")?;
        Ok(self.requests.flush()?)
    }

    pub fn receive(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err("the formix-pubsub process ended; see its error above".into());
        }
        Ok(serde_json::from_str(&line)?)
    }

    /// Nanoseconds an operation takes, by doing `count` of them.
    pub fn time(&mut self, what: &str, count: usize, topic: &str, more: &[(&str, usize)]) -> Result<f64> {
        let mut request = json!({ "do": what, "count": count, "topic": topic });
        for &(name, value) in more {
            request[name] = value.into();
        }
        self.send(request)?;
        let seconds = self.receive()?.as_f64().ok_or("formix-pubsub answered no number")?;
        Ok(seconds * 1e9 / count as f64)
    }
}

impl Drop for Formix {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
