//! The golden file, which people read and a test writes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::proto::version::{FIRST, NEWEST};

const HEAD: &str = "\
# Every number of the protocol, with the types of its fields and the bytes of an example, as of all builds so far.
# `UPDATE_GOLDEN=1 cargo test -p manager-rt --lib golden` appends what is new. Nothing else changes this file.
# A schema is a hash of everything that a version knows.
";

/// A line of a table, or the fields of a struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) table: String,
    /// The number, or `None` for a struct.
    pub(super) number: Option<u32>,
    pub(super) name: String,
    pub(super) fields: String,
    pub(super) since: u16,
    pub(super) bytes: String,
    pub(super) is_retired: bool,
}

impl Entry {
    pub(super) fn key(&self) -> (String, Option<u32>) {
        (self.table.clone(), self.number)
    }

    /// Reads what [`fmt::Display`] writes.
    fn parse(line: &str) -> Option<Self> {
        let (line, bytes) = line.split_once(" = ")?;
        let (table, line) = line.split_once(' ')?;
        let (number, line) = line.split_once(' ')?;
        let number = if number == "-" { None } else { Some(number.parse().ok()?) };
        let (line, is_retired) = line.strip_suffix(" retired").map_or((line, false), |line| (line, true));
        let (line, since) = line.rsplit_once(" since ")?;
        let (name, fields) = line.split_at(line.find('(').unwrap_or(line.len()));
        let (table, name, fields, bytes) =
            (table.to_owned(), name.to_owned(), fields.to_owned(), bytes.to_owned());
        Some(Self { table, number, name, fields, since: since.parse().ok()?, bytes, is_retired })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, number, name, fields, since, bytes, is_retired } = self;
        let number = number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let retired = if *is_retired { " retired" } else { "" };
        write!(f, "{table} {number} {name}{fields} since {since}{retired} = {bytes}")
    }
}

/// The contents of the file.
pub(super) struct Golden {
    /// The hash of everything that each version knows.
    pub(super) schemas: BTreeMap<u16, String>,
    pub(super) entries: Vec<Entry>,
}

impl Golden {
    pub(super) fn path() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/protocol.txt")
    }

    /// Reads the file. Other lines, such as those that a merge leaves, are ignored.
    pub(super) fn read() -> Self {
        let text = std::fs::read_to_string(Self::path()).unwrap_or_default();
        let schema = |line: &str| {
            let (version, schema) = line.strip_prefix("version ")?.split_once(" schema ")?;
            Some((version.parse().ok()?, schema.to_owned()))
        };
        let schemas = text.lines().filter_map(schema).collect();
        Self { schemas, entries: text.lines().filter_map(Entry::parse).collect() }
    }

    /// Puts the lines of each table in order, and hashes what each version knows.
    pub(super) fn of(entries: Vec<Entry>) -> Self {
        let mut tables: Vec<(String, BTreeMap<Option<u32>, Entry>)> = Vec::new();
        for entry in entries {
            match tables.iter_mut().find(|(table, _)| *table == entry.table) {
                Some((_, lines)) => drop(lines.insert(entry.number, entry)),
                None => tables.push((entry.table.clone(), BTreeMap::from([(entry.number, entry)]))),
            }
        }
        let entries: Vec<_> = tables.into_iter().flat_map(|(_, lines)| lines.into_values()).collect();
        let schemas = (FIRST..=NEWEST).map(|version| (version, schema_of(version, &entries))).collect();
        Self { schemas, entries }
    }

    pub(super) fn write(&self) {
        std::fs::create_dir_all(Self::path().parent().unwrap()).unwrap();
        std::fs::write(Self::path(), self.to_string()).unwrap();
    }
}

impl fmt::Display for Golden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}")?;
        self.schemas
            .iter()
            .try_for_each(|(version, schema)| writeln!(f, "version {version} schema {schema}"))?;
        let mut table = "";
        for entry in &self.entries {
            if entry.table != table {
                table = &entry.table;
                writeln!(f)?;
            }
            writeln!(f, "{entry}")?;
        }
        Ok(())
    }
}

/// Returns the hash of what a version knows: FNV-1a, 64 bits.
fn schema_of(version: u16, entries: &[Entry]) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for entry in entries.iter().filter(|entry| entry.since <= version) {
        // Retiring a number does not change what an old version knows.
        let known = Entry { is_retired: false, ..entry.clone() };
        for byte in known.to_string().bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

/// Returns bytes in hexadecimal form.
pub(super) fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}
