//! `get`: prints what an object holds.

use manager_rt::proto::{
    ArrayOp, DictOp, EventOp, Kind, ListOp, NamespaceOp, Op, Part, Payload, Raw, Reply, ValueOp,
};
use serde_json::{Map, Value as Json, json};

use crate::args::Get;
use crate::commands::attribute;
use crate::failure::Failure;
use crate::objects::Object;
use crate::output;
use crate::target::Connection;
use crate::types::{Scalar, Type};
use crate::values::{Shown, from_text};

/// How often a list or array is read again because it changed between two pages.
const TRIES_MAX: usize = 64;

pub(crate) fn run(options: &Get) -> Result<(), Failure> {
    let connection = Connection::open(&options.target)?;
    let object = Object::find(&connection, &options.name, options.types.as_ref())?;
    let get = Reading { object: &object, options };
    match (object.kind, &options.key) {
        (Kind::Value, None) => get.one(object.ask(Op::Value(ValueOp::Get))?),
        (Kind::Event, None) => match object.ask(Op::Event(EventOp::IsSet))? {
            Reply::Bool(is_set) => output::line(&is_set.to_string()),
            _ => Err(object.unexpected()),
        },
        (Kind::Value | Kind::Event, Some(_)) => {
            Err(Failure::Usage(format!("{}: a {} has no keys", object.what, object.kind)))
        }
        (Kind::List, Some(index)) => get.one(object.ask(Op::List(ListOp::Get(object.index(index)?)))?),
        (Kind::Array, Some(index)) => get.one(object.ask(Op::Array(ArrayOp::Get(object.index(index)?)))?),
        (Kind::Dict, Some(key)) => get.entry(key),
        (Kind::Namespace, Some(name)) => get.attribute(name),
        (Kind::List | Kind::Array, None) => get.items(),
        (Kind::Dict, None) => get.entries(),
        (Kind::Namespace, None) => get.attributes(),
        (kind, _) => Err(Failure::Failed(format!(
            "{}: a {kind} has no values to print; try `mp-manager inspect {:?}`",
            object.what, options.name
        ))),
    }
}

/// Reading from an object, and printing.
struct Reading<'a> {
    object: &'a Object<'a>,
    options: &'a Get,
}

impl Reading<'_> {
    /// Prints the value in an answer.
    fn one(&self, reply: Reply<Payload>) -> Result<(), Failure> {
        match reply {
            Reply::Value(value) | Reply::Option(Some(value)) => self.value(&value, self.object.value_type()),
            _ => Err(self.object.unexpected()),
        }
    }

    fn value(&self, value: &Payload, of: Option<&Type>) -> Result<(), Failure> {
        let shown = Shown::of(value, of);
        let is_known = matches!(shown, Shown::Value(_));
        if self.options.json {
            output::json(&shown.json())?;
        } else {
            let text = shown.text(of);
            // A program gets a text as it is. A person gets no text that changes the terminal.
            output::line(&if output::is_terminal() { output::visible(&text) } else { text })?;
        }
        self.explain(!is_known);
        Ok(())
    }

    /// Says why bytes were printed.
    fn explain(&self, has_bytes: bool) {
        if has_bytes {
            let what = &self.object.what;
            output::note(&match self.object.types {
                None => {
                    format!("{what}: its type is unknown here, so these are bytes; name the type with --type")
                }
                Some(_) => format!(
                    "{what}: some bytes are not values of its type, as if another program had stored them"
                ),
            });
        }
    }

    fn entry(&self, key: &str) -> Result<(), Failure> {
        let key_type = self.object.key_type().ok_or_else(|| self.object.unknown_type())?;
        let bytes = from_text(key_type, key).map_err(|why| Failure::Usage(format!("the key: {why}")))?;
        match self.object.ask(Op::Dict(DictOp::Get(Raw::plain(&bytes))))? {
            Reply::Option(None) => {
                Err(Failure::Absent(format!("{}: the key {key:?} has no value", self.object.what)))
            }
            reply => self.one(reply),
        }
    }

    fn attribute(&self, name: &str) -> Result<(), Failure> {
        let (of, value) = attribute::find(self.object, name, self.options.types.as_ref())?;
        self.value(&value, Some(&of))
    }

    fn attributes(&self) -> Result<(), Failure> {
        let Reply::Names(names) = self.object.ask(Op::Namespace(NamespaceOp::Names))? else {
            return Err(self.object.unexpected());
        };
        let mut rows = Vec::new();
        for name in names {
            let row = match attribute::find(self.object, &name, None) {
                Ok((of, value)) => {
                    let shown = Shown::of(&value, Some(&of));
                    (shown.text(Some(&of)), shown.json())
                }
                // It was removed meanwhile.
                Err(Failure::Absent(_)) => continue,
                Err(Failure::Failed(_)) => {
                    output::note(&format!("{}: the type of {name:?} is unknown here", self.object.what));
                    ("?".to_owned(), Json::Null)
                }
                Err(failure) => return Err(failure),
            };
            rows.push((name, row));
        }
        if self.options.json {
            let all: Map<_, _> = rows.into_iter().map(|(name, (_, value))| (name, value)).collect();
            return output::json(&Json::Object(all));
        }
        let rows = rows.into_iter().map(|(name, (text, _))| [name, text]);
        self.table(["NAME", "VALUE"], rows)
    }

    fn items(&self) -> Result<(), Failure> {
        let of = self.object.value_type();
        let items: Vec<Shown> = self.object.all_items()?.iter().map(|item| Shown::of(item, of)).collect();
        let has_bytes = items.iter().any(|item| matches!(item, Shown::Bytes(_)));
        if self.options.json {
            output::json(&items.into_iter().map(Shown::json).collect())?;
        } else {
            let rows = items.iter().enumerate().map(|(at, item)| [at.to_string(), item.text(of)]);
            self.table(["INDEX", "VALUE"], rows)?;
        }
        self.explain(has_bytes);
        Ok(())
    }

    fn entries(&self) -> Result<(), Failure> {
        let (key_type, value_type) = (self.object.key_type(), self.object.value_type());
        let entries = self.object.all_entries()?;
        let entries: Vec<_> = entries
            .iter()
            .map(|(key, value)| (Shown::of(key, key_type), Shown::of(value, value_type)))
            .collect();
        let is_bytes = |shown: &Shown| matches!(shown, Shown::Bytes(_));
        let has_bytes = entries.iter().any(|(key, value)| is_bytes(key) || is_bytes(value));
        if !self.options.json {
            let rows = entries.iter().map(|(key, value)| [key.text(key_type), value.text(value_type)]);
            self.table(["KEY", "VALUE"], rows)?;
        } else if key_type == Some(&Type::Scalar(Scalar::String)) && !has_bytes {
            let all: Map<_, _> =
                entries.into_iter().map(|(key, value)| (key.text(key_type), value.json())).collect();
            output::json(&Json::Object(all))?;
        } else {
            let all = entries.into_iter().map(|(key, value)| json!([key.json(), value.json()]));
            output::json(&all.collect())?;
        }
        self.explain(has_bytes);
        Ok(())
    }

    fn table(&self, columns: [&str; 2], rows: impl Iterator<Item = [String; 2]>) -> Result<(), Failure> {
        let mut table = output::table(&columns);
        for row in rows {
            table.add_row(row.map(|cell| output::visible(&cell)));
        }
        output::print(&table)
    }
}

impl Object<'_> {
    /// Reads the index of an item.
    ///
    /// # Errors
    /// [`Failure::Usage`].
    pub(crate) fn index(&self, text: &str) -> Result<u64, Failure> {
        text.parse().map_err(|_| {
            Failure::Usage(format!("{}: {text:?} is not an index: they count from 0", self.what))
        })
    }

    /// Returns all items of a list or array, as they were at one moment.
    fn all_items(&self) -> Result<Vec<Payload>, Failure> {
        'again: for _ in 0..TRIES_MAX {
            let (mut items, mut seen) = (Vec::new(), None);
            loop {
                let at = u64::try_from(items.len()).unwrap_or(u64::MAX);
                let op = match self.kind {
                    Kind::List => Op::List(ListOp::Page { at, max: u64::MAX }),
                    _ => Op::Array(ArrayOp::Read { at, max: u64::MAX }),
                };
                let Reply::Values { values, version } = self.ask(op)? else { return Err(self.unexpected()) };
                if *seen.get_or_insert(version) != version {
                    continue 'again;
                }
                if values.is_empty() {
                    return Ok(items);
                }
                items.extend(values);
            }
        }
        Err(Failure::Failed(format!("{}: programs kept changing it while it was read", self.what)))
    }

    /// Returns all entries of a dict.
    fn all_entries(&self) -> Result<Vec<(Payload, Payload)>, Failure> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let op = Op::Dict(DictOp::Page { after, max: u64::MAX, part: Part::Items });
            let Reply::Entries { entries, place } = self.ask(op)? else { return Err(self.unexpected()) };
            if entries.is_empty() {
                return Ok(all);
            }
            all.extend(entries);
            after = Some(place);
        }
    }
}
