//! Finds which names in a module stand for something in `mp-sys`.
//!
//! It follows names through `use`, through renames, through private type aliases, and through `pub(crate) use` in
//! another module of the same crate. The compiler knows more, but this is enough for honest code.

use std::collections::{BTreeMap, BTreeSet};

use syn::{Item, UseTree, Visibility};

/// The crate whose names this module looks for, as written in paths.
pub(super) const FLOOR: &str = "mp_sys";

/// A path that starts at `mp_sys`, segment by segment.
pub(super) type FullPath = Vec<String>;

/// Names in scope, and what they stand for.
pub(super) type Names = BTreeMap<String, FullPath>;

/// What the whole crate says about names, in any of its files.
#[derive(Default)]
pub(super) struct Surface {
    /// Paths that `pub use` makes the crate's own.
    pub(super) reexported: BTreeSet<FullPath>,
    /// Names that `pub(crate) use` and the like make known to other modules.
    shared: Names,
    /// Types and traits that are `pub` somewhere.
    visible: BTreeSet<String>,
    /// Types and traits that are not `pub` anywhere.
    hidden: BTreeSet<String>,
}

impl Surface {
    pub(super) fn of<'file>(files: impl Iterator<Item = &'file syn::File>) -> Self {
        let mut surface = Self::default();
        for file in files {
            surface.add(&file.items);
        }
        surface
    }

    fn add(&mut self, items: &[Item]) {
        for item in items {
            let (name, visibility) = match item {
                Item::Struct(item) => (&item.ident, &item.vis),
                Item::Enum(item) => (&item.ident, &item.vis),
                Item::Union(item) => (&item.ident, &item.vis),
                Item::Trait(item) => (&item.ident, &item.vis),
                Item::Type(item) => (&item.ident, &item.vis),
                Item::Mod(item) => {
                    self.add(item.content.as_ref().map_or(&[], |(_, items)| items));
                    continue;
                }
                Item::Use(item) => {
                    self.add_use(item);
                    continue;
                }
                _ => continue,
            };
            let set = if is_public(visibility) { &mut self.visible } else { &mut self.hidden };
            set.insert(name.to_string());
        }
    }

    fn add_use(&mut self, item: &syn::ItemUse) {
        for import in
            imports(item).into_iter().filter(|import| import.path.first().is_some_and(|name| name == FLOOR))
        {
            match &item.vis {
                Visibility::Public(_) => {
                    self.reexported.insert(import.path);
                }
                Visibility::Restricted(_) => {
                    self.shared.insert(import.name, import.path);
                }
                Visibility::Inherited => {}
            }
        }
    }

    /// Whether a type or trait of this crate cannot be named from outside.
    pub(super) fn is_hidden(&self, name: &str) -> bool {
        self.hidden.contains(name) && !self.visible.contains(name)
    }

    /// Whether the crate re-exports what `path` stands for, or something that contains it.
    ///
    /// `mp-sys` may offer a type under two paths, so the name of a type is enough. The name of a module is not, because
    /// modules and the functions in them share names.
    pub(super) fn reexports(&self, path: &[String]) -> bool {
        let is_type = |name: &str| name.starts_with(|c: char| c.is_uppercase());
        (2..=path.len()).any(|length| {
            let (prefix, name) = (&path[..length], &path[length - 1]);
            self.reexported.contains(prefix)
                || is_type(name) && self.reexported.iter().any(|exported| exported.last() == Some(name))
        })
    }

    /// Returns what a path in a module with these names stands for, if that is in `mp-sys`.
    pub(super) fn resolve(&self, names: &Names, path: &syn::Path) -> Option<FullPath> {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.resolve_segments(names, &segments)
    }

    fn resolve_segments(&self, names: &Names, segments: &[String]) -> Option<FullPath> {
        let (first, rest) = segments.split_first()?;
        if first == FLOOR {
            return Some(segments.to_vec());
        }
        if ["crate", "self", "super"].contains(&first.as_str()) {
            return self.shared.get(segments.last()?).cloned();
        }
        names.get(first).map(|path| path.iter().chain(rest).cloned().collect())
    }

    /// The names within `items` that stand for something in `mp-sys`, in addition to the `outer` names.
    pub(super) fn names(&self, items: &[Item], outer: &Names) -> Names {
        let mut names = outer.clone();
        for item in items {
            if let Item::Use(item) = item {
                for import in imports(item) {
                    if let Some(path) = self.resolve_segments(&names, &import.path) {
                        names.insert(import.name, path);
                    }
                }
            }
        }
        for item in items {
            // In a public signature, a private alias is expanded.
            if let Item::Type(alias) = item
                && !is_public(&alias.vis)
                && let syn::Type::Path(target) = &*alias.ty
                && let Some(path) = self.resolve(&names, &target.path)
            {
                names.insert(alias.ident.to_string(), path);
            }
        }
        names
    }
}

pub(super) fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// One name that a `use` brings into scope. For a glob it is `*`.
pub(super) struct Import {
    pub(super) name: String,
    pub(super) path: FullPath,
    pub(super) line: usize,
}

/// All names that a `use` brings into scope.
pub(super) fn imports(item: &syn::ItemUse) -> Vec<Import> {
    let mut found = Vec::new();
    flatten(&item.tree, &mut Vec::new(), &mut found);
    found
}

fn flatten(tree: &UseTree, prefix: &mut FullPath, found: &mut Vec<Import>) {
    let mut add = |name: &syn::Ident, original: &syn::Ident| {
        let mut path = prefix.clone();
        // `{self}` brings the module in front of the braces.
        if original != "self" || path.is_empty() {
            path.push(original.to_string());
        }
        let name = if name == "self" { path.last().cloned().unwrap_or_default() } else { name.to_string() };
        found.push(Import { name, path, line: original.span().start().line });
    };
    match tree {
        UseTree::Name(tree) => add(&tree.ident, &tree.ident),
        UseTree::Rename(tree) => add(&tree.rename, &tree.ident),
        UseTree::Glob(tree) => {
            let line = tree.star_token.spans[0].start().line;
            found.push(Import { name: "*".to_owned(), path: prefix.clone(), line });
        }
        UseTree::Path(tree) => {
            prefix.push(tree.ident.to_string());
            flatten(&tree.tree, prefix, found);
            prefix.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, prefix, found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(String, String)> {
        let file = syn::parse_file(text).unwrap();
        let names = Surface::of([&file].into_iter()).names(&file.items, &Names::new());
        names.into_iter().map(|(name, path)| (name, path.join("::"))).collect()
    }

    #[test]
    fn every_form_of_use_is_followed() {
        let text = "
            use std::time::Duration;
            use mp_sys::fork::{self, Epoch as E, token::{Token}};
            use mp_sys as sys;
            use sys::memory::Region;
            type Alias = sys::View;
        ";
        let expected = [
            ("Alias", "mp_sys::View"),
            ("E", "mp_sys::fork::Epoch"),
            ("Region", "mp_sys::memory::Region"),
            ("Token", "mp_sys::fork::token::Token"),
            ("fork", "mp_sys::fork"),
            ("sys", "mp_sys"),
        ];
        assert_eq!(names(text), expected.map(|(name, path)| (name.to_owned(), path.to_owned())));
    }

    #[test]
    fn names_shared_within_the_crate_are_followed() {
        let text = "
            mod sys { pub(crate) use mp_sys::memory::Region; }
            mod user { use crate::sys::Region as R; }
        ";
        let file = syn::parse_file(text).unwrap();
        let surface = Surface::of([&file].into_iter());
        let Item::Mod(user) = &file.items[1] else { panic!("a module") };
        let names = surface.names(&user.content.as_ref().unwrap().1, &Names::new());
        assert_eq!(names["R"].join("::"), "mp_sys::memory::Region");
    }

    #[test]
    fn only_what_is_reexported_belongs_to_the_crate() {
        let file = syn::parse_file("pub use mp_sys::{fork::fork, deadline::Deadline, testing};").unwrap();
        let surface = Surface::of([&file].into_iter());
        let reexports =
            |path: &str| surface.reexports(&path.split("::").map(str::to_owned).collect::<Vec<_>>());
        for path in
            ["mp_sys::deadline::Deadline", "mp_sys::Deadline", "mp_sys::testing::Child", "mp_sys::fork::fork"]
        {
            assert!(reexports(path), "{path}");
        }
        for path in ["mp_sys::fork::Epoch", "mp_sys::Testing", "mp_sys::deadline::Clock", "mp_sys"] {
            assert!(!reexports(path), "{path}");
        }
    }
}
