//! The types that a command line can name, and how the type of an object is found.
//!
//! A manager does not store the type of an object, only a fingerprint of its name. So the names of likely types are tried: every
//! scalar, and `Option`, `Vec` and pairs of scalars. Whoever knows that an object has another type can name it: `Vec<Vec<(u8, bool)>>`.
//! A named type counts only if its fingerprint is that of the object, so nothing is ever decoded as what it is not.

use std::fmt;
use std::str::FromStr;

use manager_rt::proto::Kind;
use mp_sys::named::fingerprint;

/// How deep types may be nested: each level is a call of a function.
const DEPTH_MAX: usize = 32;

/// The type of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    Scalar(Scalar),
    Option(Box<Self>),
    Vec(Box<Self>),
    /// At least one element.
    Array(Box<Self>, usize),
    /// At least one field.
    Tuple(Vec<Self>),
}

/// Defines the scalars: variant, Rust type, name.
macro_rules! scalars {
    ($($variant:ident $rust:ty, $name:literal;)+) => {
        /// A value without parts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Scalar {
            $($variant),+
        }

        impl Scalar {
            const ALL: &[Self] = &[$(Self::$variant),+];

            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        /// Evaluates an expression with `$type` as the Rust type of a scalar.
        macro_rules! with_scalar {
            ($scalar:expr, $type:ident => $body:expr) => {
                match $scalar {
                    $(crate::types::Scalar::$variant => {
                        type $type = $rust;
                        $body
                    })+
                }
            };
        }
    };
}

scalars! {
    String String, "String";
    U64 u64, "u64";
    I64 i64, "i64";
    U32 u32, "u32";
    I32 i32, "i32";
    Usize usize, "usize";
    Isize isize, "isize";
    U8 u8, "u8";
    I8 i8, "i8";
    U16 u16, "u16";
    I16 i16, "i16";
    U128 u128, "u128";
    I128 i128, "i128";
    F64 f64, "f64";
    F32 f32, "f32";
    Bool bool, "bool";
    Char char, "char";
}

/// The types of what an object holds: of its items, or of its keys and values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Types {
    Items(Type),
    Entries(Type, Type),
}

impl Types {
    /// Finds the types of an object from its kind and its fingerprint.
    pub(crate) fn find(kind: Kind, print: u64) -> Option<Self> {
        if kind == Kind::Dict {
            let keys = || Scalar::ALL.iter().map(|scalar| Type::Scalar(*scalar));
            let mut all = keys().flat_map(|key| likely().map(move |value| Self::Entries(key.clone(), value)));
            return all.find(|types| types.print(kind) == print);
        }
        likely().map(Self::Items).find(|types| types.print(kind) == print)
    }

    /// Returns the types that a user named for an object of this kind: for a dict, those of its keys and its values.
    pub(crate) fn named(kind: Kind, named: &Type) -> Option<Self> {
        match (kind, named) {
            (Kind::Dict, Type::Tuple(fields)) => match &fields[..] {
                [key, value] => Some(Self::Entries(key.clone(), value.clone())),
                _ => None,
            },
            (Kind::Dict, _) => None,
            (_, items) => Some(Self::Items(items.clone())),
        }
    }

    /// Returns the fingerprint of an object of this kind with these types, as the library makes it.
    pub(crate) fn print(&self, kind: Kind) -> u64 {
        let fields = match self {
            Self::Items(items) => vec![items.clone()],
            Self::Entries(key, value) => vec![key.clone(), value.clone()],
        };
        fingerprint(&kind.to_string(), 0, 0, &Type::Tuple(fields).to_string())
    }
}

impl fmt::Display for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Items(items) => items.fmt(f),
            Self::Entries(key, value) => write!(f, "{key}, {value}"),
        }
    }
}

/// Returns the types that are tried, the most likely first.
pub(crate) fn likely() -> impl Iterator<Item = Type> {
    let scalars = || Scalar::ALL.iter().map(|scalar| Type::Scalar(*scalar));
    let pairs = move || {
        scalars().flat_map(move |one| scalars().map(move |other| Type::Tuple(vec![one.clone(), other])))
    };
    let option = |inner: Type| Type::Option(Box::new(inner));
    let vec = |inner: Type| Type::Vec(Box::new(inner));
    scalars()
        .chain(scalars().flat_map(move |scalar| {
            let nested = [option(vec(scalar.clone())), vec(option(scalar.clone())), vec(vec(scalar.clone()))];
            [vec(scalar.clone()), option(scalar)].into_iter().chain(nested)
        }))
        .chain(pairs())
        .chain(pairs().map(vec))
}

impl Type {
    /// Returns the fingerprint of an attribute of a namespace with this type, as the library makes it.
    pub(crate) fn attribute_print(&self) -> u64 {
        fingerprint(&Kind::Value.to_string(), 0, 0, &self.to_string())
    }
}

impl fmt::Display for Type {
    /// Writes the type as the compiler names it, without modules.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(scalar) => f.write_str(scalar.name()),
            Self::Option(inner) => write!(f, "Option<{inner}>"),
            Self::Vec(inner) => write!(f, "Vec<{inner}>"),
            Self::Array(inner, len) => write!(f, "[{inner}; {len}]"),
            Self::Tuple(fields) => {
                f.write_str("(")?;
                for (at, field) in fields.iter().enumerate() {
                    let before = if at == 0 { "" } else { ", " };
                    write!(f, "{before}{field}")?;
                }
                f.write_str(if fields.len() == 1 { ",)" } else { ")" })
            }
        }
    }
}

impl FromStr for Type {
    type Err = String;

    /// Reads a type. Several types with commas between them are a tuple, with or without parentheses.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parser = Parser { rest: text };
        let of = parser.list(0)?;
        if parser.rest.is_empty() { Ok(of) } else { Err(parser.unexpected()) }
    }
}

/// What is left to read.
struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    /// Reads types with commas between them, as a tuple. As in Rust, one type without a comma behind it is that type.
    fn list(&mut self, depth: usize) -> Result<Type, String> {
        let first = self.one(depth)?;
        if !self.skip(",") {
            return Ok(first);
        }
        let mut fields = vec![first];
        while !self.rest.is_empty() && !self.rest.starts_with(')') {
            fields.push(self.one(depth)?);
            if !self.skip(",") {
                break;
            }
        }
        Ok(Type::Tuple(fields))
    }

    fn one(&mut self, depth: usize) -> Result<Type, String> {
        if depth >= DEPTH_MAX {
            return Err(format!("types are nested at most {DEPTH_MAX} levels deep"));
        }
        let inside = depth + 1;
        if self.skip("(") {
            let of = self.list(inside)?;
            return self.expect(")").map(|()| of);
        }
        if self.skip("[") {
            let inner = Box::new(self.one(inside)?);
            self.expect(";")?;
            let len: usize = self.word().parse().map_err(|_| self.unexpected())?;
            self.expect("]")?;
            return if len == 0 {
                Err("an array has at least one element".to_owned())
            } else {
                Ok(Type::Array(inner, len))
            };
        }
        let before = self.rest;
        match self.word() {
            "Option" => self.angle(inside).map(|inner| Type::Option(Box::new(inner))),
            "Vec" => self.angle(inside).map(|inner| Type::Vec(Box::new(inner))),
            word => match Scalar::ALL.iter().find(|scalar| scalar.name() == word) {
                Some(scalar) => Ok(Type::Scalar(*scalar)),
                None => {
                    self.rest = before;
                    Err(self.unexpected())
                }
            },
        }
    }

    fn angle(&mut self, depth: usize) -> Result<Type, String> {
        self.expect("<")?;
        let inner = self.one(depth)?;
        self.expect(">").map(|()| inner)
    }

    /// Reads letters and digits.
    fn word(&mut self) -> &'t str {
        let text = self.rest.trim_start();
        let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.rest = rest.trim_start();
        word
    }

    fn skip(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.skip(token) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> String {
        let found = if self.rest.is_empty() { "the end" } else { self.rest };
        format!(
            "expected a type such as u64, String, bool, f64, Option<u32>, Vec<u8>, [f32; 3] or (String, i64), and not {found:?}"
        )
    }
}

#[cfg(test)]
mod tests;
