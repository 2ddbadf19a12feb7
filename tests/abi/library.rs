//! The built libraries: where they are, what they export, what they need.

use std::collections::BTreeSet;
use std::env;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::tools::{root, run};

pub struct Library {
    pub shared: PathBuf,
    pub archive: PathBuf,
}

impl Library {
    /// What to tell the compiler in order to link the shared library. It is found under its soname in `dir`, which must
    /// stay until the program has run.
    pub fn link_shared(&self, dir: &Path) -> Vec<String> {
        let soname = dir.join("libpubsub.so.0");
        symlink(&self.shared, &soname).expect("a link under the soname");
        vec![soname.display().to_string(), format!("-Wl,-rpath,{}", dir.display())]
    }

    /// What to tell the compiler in order to link the static library.
    pub fn link_static(&self) -> Vec<String> {
        let system = ["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-lc"];
        [self.archive.display().to_string()].into_iter().chain(system.map(str::to_owned)).collect()
    }
}

/// The libraries of this tree, built by cargo as a user would.
pub fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let mut build = cargo();
        build.args(["build", "--lib", "--message-format=json-render-diagnostics"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let said = run(&mut build);
        let files: Vec<PathBuf> = said
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|m| m["reason"] == "compiler-artifact" && m["target"]["name"] == "pubsub")
            .filter_map(|message| message["filenames"].as_array().cloned())
            .flatten()
            .filter_map(|file| file.as_str().map(PathBuf::from))
            .collect();
        let built = |name: &str| {
            files.iter().find(|file| file.ends_with(name)).unwrap_or_else(|| panic!("no {name} in {files:?}")).clone()
        };
        Library { shared: built("libpubsub.so"), archive: built("libpubsub.a") }
    })
}

fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

#[test]
fn the_shared_library_exports_what_the_header_declares_and_nothing_else() {
    let symbols = run(Command::new("nm").args(["-D", "--defined-only", "--format=posix"]).arg(&library().shared));
    let exported: BTreeSet<&str> = symbols.lines().filter_map(|line| line.split(' ').next()).collect();
    let header = std::fs::read_to_string(root().join("include/pubsub.h")).expect("include/pubsub.h");
    let declared = crate::declarations::Declarations::read(&header);
    let declared: BTreeSet<&str> = declared.functions.keys().map(String::as_str).collect();
    assert_eq!(exported, declared);
}

#[test]
fn the_shared_library_has_its_soname_and_needs_only_the_c_library() {
    let dynamic = run(Command::new("readelf").args(["-d", "-W"]).arg(&library().shared));
    let bracketed = |tag: &str| -> Vec<String> {
        let lines = dynamic.lines().filter(|line| line.contains(tag));
        lines.filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned())).collect()
    };
    assert_eq!(bracketed("(SONAME)"), ["libpubsub.so.0"]);
    for needed in bracketed("(NEEDED)") {
        let name = needed.split(".so").next().unwrap_or_default();
        assert!(["libc", "libgcc_s", "libm"].contains(&name) || name.starts_with("ld-linux"), "it needs {needed}");
    }
}

#[test]
fn the_library_has_few_dependencies() {
    let tree = run(cargo().args(["tree", "--edges=normal", "--no-default-features", "--prefix=none", "--format={p}"]));
    let crates: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    let of_its_own = ["pubsub", "libc", "nix", "once_cell", "rand", "thiserror", "xxhash-rust"];
    let theirs = [
        // of nix
        "bitflags",
        "cfg-if",
        "memoffset",
        // of rand
        "getrandom",
        "ppv-lite86",
        "rand_chacha",
        "rand_core",
        "zerocopy",
        // of thiserror, at compile time
        "proc-macro2",
        "quote",
        "syn",
        "thiserror-impl",
        "unicode-ident",
    ];
    for name in &crates {
        assert!(of_its_own.contains(name) || theirs.contains(name), "the library depends on {name}");
    }
    for name in of_its_own {
        assert!(crates.contains(name), "the library no longer depends on {name}: take it out of this list");
    }
}
