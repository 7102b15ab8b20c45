//! The house itself: imports run one way and never in a circle, and every file stays readable in one sitting.
//!
//! It reads sources as text. An import is a `use`, or a path in the code that begins with `crate`, `super` or the name
//! of a module below. A module that is only passed on by `pub use` is not imported.

#![cfg(test)]
#![allow(clippy::disallowed_methods, reason = "reads the sources")]
#![allow(clippy::arithmetic_side_effects, reason = "a test that overflows has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The most lines of a file, its tests not counted.
const LINES: usize = 320;

/// The rooms of the protocol, from the ground up: each may import those before it.
const PROTOCOL: [&str; 12] = [
    "id", "time", "refusal", "ruling", "wire", "rules", "job", "verify", "judge", "claim", "take",
    "",
];

/// What each of the other rooms may import.
const ROOMS: [(&str, &[&str]); 8] = [
    ("exit", &[]),
    ("pipeline", &["protocol"]),
    ("system", &["protocol"]),
    ("config", &["protocol", "system"]),
    ("compose", &["protocol"]),
    ("cli", &["compose", "config", "exit", "pipeline", "protocol", "system"]),
    ("main", &["cli", "exit", "system"]),
    ("lib", &[]),
];

/// A source file without its tests: the module that it is, and its text.
struct Source {
    module: String,
    path: PathBuf,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut directories) = (Vec::new(), vec![root.clone()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let module = path.strip_prefix(&root).unwrap().with_extension("");
            let module = module.to_str().unwrap().replace('/', "::");
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\n").next().unwrap().to_owned();
            found.push(Source { module, path, text });
        }
    }
    found.sort_by(|one, other| one.module.cmp(&other.module));
    found
}

/// The code alone: no comments, and none of what is only passed on.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let mut code = lines.collect::<Vec<_>>().join("\n").replace("pub(in crate::protocol)", "pub");
    while let Some(at) = code.find("pub use ") {
        let end = code[at..].find(';').unwrap() + at;
        code.replace_range(at..=end, "");
    }
    code
}

/// The paths of a use tree such as `super::{a, b::{c, d}}`, written out.
fn paths(tree: &str) -> Vec<String> {
    let Some((head, rest)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let body = &rest[..rest.rfind('}').unwrap()];
    let (mut parts, mut part, mut depth) = (Vec::new(), String::new(), 0);
    for c in body.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    let written_out =
        parts.iter().filter(|part| !part.trim().is_empty()).flat_map(|part| paths(part));
    written_out.map(|path| format!("{}{path}", head.trim())).collect()
}

/// The modules that a file imports.
fn imports(source: &Source, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let code = code(&source.text);
    let children = modules.iter().filter_map(|module| {
        let child = module.strip_prefix(&source.module)?.strip_prefix("::")?;
        (!child.contains("::")).then_some(child)
    });
    let mut starts = vec!["crate".to_owned(), "super".to_owned()];
    starts.extend(children.map(ToOwned::to_owned));
    let mut found = BTreeSet::new();
    for start in starts {
        let opening = format!("{start}::");
        for (at, _) in code.match_indices(&opening) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let is_use = code[..at].trim_end().ends_with("use");
            let ends = |c: char| {
                if is_use { c == ';' } else { !(c.is_alphanumeric() || "_:".contains(c)) }
            };
            let end = code[at..].find(ends).map_or(code.len(), |end| at + end);
            let tree = if is_use { &code[at..end] } else { code[at..end].trim_end_matches(':') };
            found.extend(
                paths(tree).iter().filter_map(|path| resolve(&source.module, path, modules)),
            );
        }
    }
    found.remove(&source.module);
    found
}

/// The module that a path leads to, seen from another.
fn resolve(from: &str, path: &str, modules: &BTreeSet<String>) -> Option<String> {
    let mut steps: Vec<&str> =
        if path.starts_with("crate::") { vec![] } else { from.split("::").collect() };
    for step in path.split("::").map(str::trim) {
        match step {
            "crate" => {}
            "super" => drop(steps.pop()),
            step => steps.push(step),
        }
    }
    while !steps.is_empty() {
        let module = steps.join("::");
        if modules.contains(&module) {
            return Some(module);
        }
        steps.pop();
    }
    None
}

fn graph() -> BTreeMap<String, BTreeSet<String>> {
    let sources = sources();
    let modules = sources.iter().map(|source| source.module.clone()).collect();
    sources.iter().map(|source| (source.module.clone(), imports(source, &modules))).collect()
}

/// Whether a module may import another, by the rooms that they are in.
fn may_import(from: &str, to: &str) -> bool {
    let step =
        |module: &str, nth: usize| module.split("::").nth(nth).unwrap_or_default().to_owned();
    let (here, there) = (step(from, 0), step(to, 0));
    if here != there {
        return ROOMS
            .iter()
            .any(|(room, allowed)| *room == here && allowed.contains(&there.as_str()));
    }
    if here != "protocol" {
        return true;
    }
    let floor = |module: &str| PROTOCOL.iter().position(|room| *room == step(module, 1)).unwrap();
    floor(to) <= floor(from)
}

#[test]
fn imports_run_one_way_between_rooms() {
    for (from, imports) in graph() {
        for to in imports {
            assert!(may_import(&from, &to), "{from} imports {to}");
        }
    }
}

#[test]
fn no_module_imports_itself_through_others() {
    let graph = graph();
    let mut rest: BTreeSet<&String> = graph.keys().collect();
    // what imports nothing that is left can be read first; a circle is never read
    loop {
        let readable = |module: &&&String| graph[**module].iter().all(|to| !rest.contains(to));
        let Some(next) = rest.iter().find(readable).copied() else { break };
        rest.remove(next);
    }
    let circles = |module: &&String| {
        graph[*module].iter().filter(|to| rest.contains(to)).cloned().collect::<Vec<_>>()
    };
    let told: Vec<String> =
        rest.iter().map(|module| format!("{module} -> {:?}", circles(module))).collect();
    assert!(rest.is_empty(), "{}", told.join("\n"));
}

#[test]
fn every_file_says_first_what_it_is_for() {
    for source in sources() {
        let first = source.text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.len() > 20, "{}", source.path.display());
    }
}

#[test]
fn no_file_is_longer_than_one_sitting() {
    for source in sources() {
        let lines = source.text.lines().count();
        assert!(lines <= LINES, "{}: {lines} lines", source.path.display());
    }
}

#[test]
fn the_reader_of_imports_sees_every_kind() {
    let modules = ["cli", "cli::sign", "protocol::wire::cose", "system", "system::log"];
    let modules: BTreeSet<String> = modules.map(ToOwned::to_owned).into();
    let text = "use super::{say, b::c};\npub use sign::X;\nuse crate::protocol::wire::{self, cose::{A, B}};\n\
                // crate::nothing\nfn f() { crate::system::log::write(); sign::run() }\n";
    let source = |module: &str, text: &str| Source {
        module: module.into(),
        path: PathBuf::new(),
        text: text.into(),
    };
    let seen = imports(&source("cli", text), &modules);
    assert_eq!(
        seen,
        ["cli::sign", "protocol::wire::cose", "system::log"].map(ToOwned::to_owned).into()
    );
    let passed_on = imports(&source("cli", "pub use sign::X;"), &modules);
    assert_eq!(passed_on, BTreeSet::new());
    let from_below = imports(&source("cli::sign", "use super::say;"), &modules);
    assert_eq!(from_below, ["cli".to_owned()].into());
}
