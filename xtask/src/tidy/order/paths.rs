//! The modules of a crate, and which of them name which others.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Ident, Item};

use crate::tidy::RustFile;
use crate::tidy::imports::imports;

/// A module's path within its crate; the crate itself is empty.
pub(super) type Path = Vec<String>;

/// How many re-exports are followed for one name. Rust forbids circles of them, but a file may not compile.
const REEXPORTS_MAX: usize = 32;

/// One place where a module names something of its crate.
#[derive(Debug)]
pub(super) struct Arrow {
    /// The module that names it.
    pub(super) from: Path,
    /// The module that defines what is named.
    pub(super) to: Path,
    /// The path as resolved from the crate.
    pub(super) written: String,
    pub(super) file: String,
    pub(super) line: usize,
}

/// The modules of one crate, without those that only tests have.
pub(super) struct Modules<'f> {
    source: String,
    /// The files by the module that they hold.
    files: BTreeMap<Path, &'f RustFile>,
    /// The modules, those within files too.
    all: BTreeSet<Path>,
    /// By module: the names that its `use` items bring into scope, and what they stand for.
    names: BTreeMap<Path, BTreeMap<String, Path>>,
}

impl<'f> Modules<'f> {
    /// Reads the modules of the crate whose sources are in the folder `source`.
    pub(super) fn of(files: &'f [RustFile], source: &str) -> Self {
        let mut modules = Self {
            source: source.to_owned(),
            files: BTreeMap::new(),
            all: BTreeSet::from([Path::new()]),
            names: BTreeMap::new(),
        };
        for file in files {
            let Some(module) = module_of(source, &file.path) else { continue };
            modules.files.insert(module, file);
        }
        modules.forget_tests();
        let found: Vec<_> = modules.files.iter().map(|(module, file)| (module.clone(), *file)).collect();
        for (module, file) in &found {
            modules.add(module, &file.syntax.items);
        }
        for (module, file) in &found {
            modules.add_names(module, &file.syntax.items);
        }
        modules
    }

    /// Removes the files of modules that are declared for tests only.
    fn forget_tests(&mut self) {
        let mut for_tests = Vec::new();
        for (module, file) in &self.files {
            for item in &file.syntax.items {
                if let Item::Mod(inner) = item
                    && is_for_tests(&inner.attrs)
                {
                    for_tests.push(joined(module, &inner.ident.to_string()));
                }
            }
        }
        self.files.retain(|module, _| !for_tests.iter().any(|tests| module.starts_with(tests)));
    }

    fn add(&mut self, module: &[String], items: &[Item]) {
        self.all.insert(module.to_vec());
        for (inner, items) in modules_in(module, items) {
            self.add(&inner, items);
        }
    }

    fn add_names(&mut self, module: &[String], items: &[Item]) {
        let mut names = BTreeMap::new();
        for item in items {
            if let Item::Use(item) = item
                && !is_for_tests(&item.attrs)
            {
                for import in imports(item) {
                    if let Some(path) = self.rooted(module, &import.path, &BTreeMap::new()) {
                        names.insert(import.name, path);
                    }
                }
            }
        }
        self.names.insert(module.to_vec(), names);
        for (inner, items) in modules_in(module, items) {
            self.add_names(&inner, items);
        }
    }

    /// The module that a folder of the crate belongs to.
    pub(super) fn module_of(&self, folder: &str) -> Option<Path> {
        let inside = folder.strip_prefix(&self.source)?;
        Some(inside.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }

    /// The modules directly inside a folder, with their files.
    pub(super) fn below(&self, folder: &str) -> BTreeMap<String, String> {
        let Some(folder) = self.module_of(folder) else { return BTreeMap::new() };
        let inside = self.files.iter().filter_map(|(module, file)| {
            let [name] = module.strip_prefix(folder.as_slice())? else { return None };
            Some((name.clone(), file.path.clone()))
        });
        inside.collect()
    }

    /// All places where a module names something of its crate.
    pub(super) fn arrows(&self) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        for (module, file) in &self.files {
            let mut reader = Reader { modules: self, module: module.clone(), file, arrows: &mut arrows };
            reader.visit_file(&file.syntax);
        }
        arrows
    }

    /// Writes a path in `module` from the crate on, or returns `None` if it leads out of the crate.
    fn rooted(&self, module: &[String], path: &[String], names: &BTreeMap<String, Path>) -> Option<Path> {
        let (first, rest) = path.split_first()?;
        let base = match first.as_str() {
            "crate" => Path::new(),
            "self" => module.to_vec(),
            "super" => module.split_last()?.1.to_vec(),
            name if self.all.contains(&joined(module, name)) => joined(module, name),
            name => names.get(name)?.clone(),
        };
        let (mut base, mut rest) = (base, rest);
        while let [first, more @ ..] = rest
            && first == "super"
        {
            base.pop()?;
            rest = more;
        }
        base.extend(rest.iter().cloned());
        Some(base)
    }

    /// The module that defines what a path from the crate on names, or `None` if that is outside the crate.
    fn definer(&self, path: &[String]) -> Option<Path> {
        let mut path = path.to_vec();
        for _ in 0..REEXPORTS_MAX {
            let depth = (0..=path.len()).rev().find(|depth| self.all.contains(&path[..*depth]))?;
            let Some(name) = path.get(depth) else { return Some(path) };
            let module = path[..depth].to_vec();
            match self.names.get(&module).and_then(|names| names.get(name)) {
                Some(stands_for) => {
                    path = stands_for.iter().chain(&path[depth + 1..]).cloned().collect();
                }
                None if self.leads_out(&module, name) => return None,
                None => return Some(module),
            }
        }
        None
    }

    /// Whether a module brings `name` into scope from another crate.
    fn leads_out(&self, module: &[String], name: &str) -> bool {
        let Some(file) = self.files.get(module) else { return false };
        let uses = file.syntax.items.iter().filter_map(|item| match item {
            Item::Use(item) => Some(item),
            _ => None,
        });
        let mut imports = uses.flat_map(imports);
        imports.any(|import| {
            import.name == name
                && import.path.len() > 1
                && self.rooted(module, &import.path, &BTreeMap::new()).is_none()
        })
    }
}

/// Walks through a file and notes what it names.
struct Reader<'r, 'f> {
    modules: &'r Modules<'f>,
    module: Path,
    file: &'f RustFile,
    arrows: &'r mut Vec<Arrow>,
}

impl Reader<'_, '_> {
    fn note(&mut self, path: &[String], line: usize) {
        let empty = BTreeMap::new();
        let names = self.modules.names.get(&self.module).unwrap_or(&empty);
        // A single name was already noted where it was brought into scope.
        if path.len() < 2 {
            return;
        }
        let Some(path) = self.modules.rooted(&self.module, path, names) else { return };
        let Some(to) = self.modules.definer(&path) else { return };
        let written = format!("crate::{}", path.join("::"));
        let (from, file) = (self.module.clone(), self.file.path.clone());
        self.arrows.push(Arrow { from, to, written, file, line });
    }

    /// Finds paths in the tokens of a macro, which no parser knows.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<Ident> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.note_idents(&mut path);
                    }
                    path.push(ident);
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => colons += 1,
                TokenTree::Group(group) => {
                    self.note_idents(&mut path);
                    colons = 0;
                    self.note_tokens(group.stream());
                }
                _ => {
                    self.note_idents(&mut path);
                    colons = 0;
                }
            }
        }
        self.note_idents(&mut path);
    }

    fn note_idents(&mut self, path: &mut Vec<Ident>) {
        let Some(line) = path.first().map(|ident| ident.span().start().line) else { return };
        let names: Vec<String> = path.drain(..).map(|ident| ident.to_string()).collect();
        self.note(&names, line);
    }
}

impl<'ast> Visit<'ast> for Reader<'_, '_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        for import in imports(item) {
            self.note(&import.path, import.line);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let line = path.segments.first().map_or(1, |segment| segment.ident.span().start().line);
        self.note(&names, line);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.note_tokens(call.tokens.clone());
    }

    /// A visibility names a module, but uses nothing of it.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}
}

/// The modules that are written out among `items`, without those of tests.
fn modules_in<'a>(module: &[String], items: &'a [Item]) -> Vec<(Path, &'a [Item])> {
    let inner = items.iter().filter_map(|item| match item {
        Item::Mod(inner) if !is_for_tests(&inner.attrs) => {
            let (_, items) = inner.content.as_ref()?;
            Some((joined(module, &inner.ident.to_string()), items.as_slice()))
        }
        _ => None,
    });
    inner.collect()
}

/// The module that a file holds, if it belongs to the crate in the folder `source`.
fn module_of(source: &str, file: &str) -> Option<Path> {
    let inside = file.strip_prefix(source)?.strip_prefix('/')?.strip_suffix(".rs")?;
    if ["lib", "main"].contains(&inside) {
        return Some(Path::new());
    }
    Some(inside.split('/').map(str::to_owned).collect())
}

fn joined(module: &[String], name: &str) -> Path {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

/// Whether an item exists only in tests: `#[cfg(test)]`.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<Ident>().is_ok_and(|condition| condition == "test")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
