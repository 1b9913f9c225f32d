//! Prepares the pages of the guide for rustdoc, which builds them as modules of this crate.
//!
//! In the repository, the pages link to each other's files (`queues.md#tasks`). rustdoc makes a folder for each module, so these links
//! become `../queues/index.html#tasks`. Links to other files of the repository become plain text.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Files of the guide, and the modules that `src/lib.rs` makes of them.
const PAGES: [(&str, &str); 23] = [
    ("guide/getting-started.md", "getting_started"),
    ("guide/objects.md", "objects"),
    ("guide/synchronizing.md", "synchronizing"),
    ("guide/processes.md", "processes"),
    ("guide/inherit.md", "inherit"),
    ("guide/pipes.md", "pipes"),
    ("guide/queues.md", "queues"),
    ("guide/exactly-once.md", "exactly_once"),
    ("guide/async.md", "async_programs"),
    ("guide/pools.md", "pools"),
    ("guide/supervising.md", "supervising"),
    ("guide/prefork.md", "prefork"),
    ("guide/signals.md", "signals"),
    ("guide/managers.md", "managers"),
    ("guide/hosts.md", "hosts"),
    ("guide/mp-manager.md", "mp_manager"),
    ("guide/redis.md", "redis"),
    ("guide/rabbitmq.md", "rabbitmq"),
    ("guide/crashes.md", "crashes"),
    ("guide/limits.md", "limits"),
    ("guide/coming-from-python.md", "coming_from_python"),
    ("FORK.md", "fork"),
    // The crate's own page.
    ("guide/README.md", ""),
];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=guide");
    println!("cargo::rerun-if-changed=FORK.md");
    let variable = |name| env::var_os(name).map(PathBuf::from).ok_or_else(|| io::Error::other(name));
    let (root, out) = (variable("CARGO_MANIFEST_DIR")?, variable("OUT_DIR")?);
    for (file, module) in PAGES {
        let text = fs::read_to_string(root.join(file))?;
        let name = if module.is_empty() { "guide" } else { module };
        fs::write(out.join(format!("{name}.md")), page(&text, file, module))?;
    }
    Ok(())
}

/// The text of one page, with links for rustdoc. Its code blocks are run in the original, as documentation tests.
fn page(text: &str, file: &str, module: &str) -> String {
    let mut result = String::new();
    let mut in_code = false;
    for line in text.lines() {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        if in_code || is_fence {
            result.push_str(line);
        } else {
            result.push_str(&links(line, file, module));
        }
        result.push('\n');
    }
    result
}

/// A line of prose with its links rewritten.
fn links(line: &str, file: &str, module: &str) -> String {
    let mut result = String::new();
    let mut rest = line;
    while let Some((before, text, target, after)) = next_link(rest) {
        result.push_str(before);
        match rewritten(target, file, module) {
            Some(target) => result.push_str(&format!("[{text}]({target})")),
            // Pictures are not copied.
            None if before.ends_with('!') => {
                result.pop();
            }
            None => result.push_str(text),
        }
        rest = after;
    }
    result + rest
}

/// The first link of a line: what is before it, its text, its target, and what is after it.
fn next_link(line: &str) -> Option<(&str, &str, &str, &str)> {
    let middle = line.find("](")?;
    let start = line[..middle].rfind('[')?;
    let end = middle + line[middle..].find(')')?;
    Some((&line[..start], &line[start + 1..middle], &line[middle + 2..end], &line[end + 1..]))
}

/// Where a link leads in rustdoc's folders; `None` if rustdoc has no such page.
fn rewritten(target: &str, file: &str, module: &str) -> Option<String> {
    if target.starts_with('#') || target.contains("://") {
        return Some(target.to_owned());
    }
    let (path, place) =
        target.split_once('#').map_or((target, String::new()), |(path, place)| (path, format!("#{place}")));
    let folder = Path::new(file).parent()?;
    let wanted = folder.join(path).components().fold(PathBuf::new(), |mut path, part| {
        if part.as_os_str() == ".." {
            path.pop();
        } else {
            path.push(part);
        }
        path
    });
    let (_, found) = PAGES.iter().find(|(file, _)| Path::new(file) == wanted)?;
    let up = if module.is_empty() { "" } else { "../" };
    Some(if found.is_empty() {
        format!("{up}index.html{place}")
    } else {
        format!("{up}{found}/index.html{place}")
    })
}
