//! Finds types of `mp-sys` in the public signatures of the crates above it.
//!
//! `mp-sys` promises no stability. If another crate's signature used one of its types, that crate would be unstable
//! too, and users would have to name a crate that the documentation advises against. A type that is needed outside is
//! re-exported with `pub use`: then its name, and the promise, belong to the re-exporting crate.
//!
//! The check reads syntax. It treats an item as public if it is `pub`, whether or not the path to the item is public as
//! well (the lint `unreachable_pub` keeps the two together). It does not expand macros, and does not see types that are
//! only inferred, as behind `impl Trait`.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, TraitItem};

use crate::tidy::imports::{self, FLOOR, Names, Surface, is_public};
use crate::tidy::{Finding, RustFile};

/// The crates whose signatures are checked, by folder.
pub(super) const CRATES: [&str; 4] = ["shm-core", "kernel-ipc", "manager-rt", "mp-facade"];

/// Returns the findings about one crate; `files` are all its sources.
pub(super) fn check(files: &[&RustFile]) -> Vec<Finding> {
    let surface = Surface::of(files.iter().map(|file| &file.syntax));
    let mut findings = Vec::new();
    for file in files {
        let mut checker = Checker { surface: &surface, path: &file.path, findings: &mut findings };
        checker.items(&file.syntax.items, &Names::new());
    }
    findings
}

struct Checker<'a> {
    surface: &'a Surface,
    path: &'a str,
    findings: &'a mut Vec<Finding>,
}

impl Checker<'_> {
    fn items(&mut self, items: &[Item], outer: &Names) {
        let names = self.surface.names(items, outer);
        for item in items {
            self.item(item, &names);
        }
    }

    fn item(&mut self, item: &Item, names: &Names) {
        match item {
            Item::Mod(item) if !is_for_tests(&item.attrs) => {
                // A module sees the names around it only through `use super::…`. A false alarm would need a second type
                // with the same name.
                if let Some((_, items)) = &item.content {
                    self.items(items, names);
                }
            }
            Item::Use(item) => self.globs(item),
            Item::Impl(item) if !is_for_tests(&item.attrs) => self.implementation(item, names),
            Item::Fn(item) if is_public(&item.vis) => {
                self.look(names, &format!("fn {}", item.sig.ident)).visit_signature(&item.sig);
            }
            Item::Struct(item) if is_public(&item.vis) => {
                let mut look = self.look(names, &format!("struct {}", item.ident));
                look.visit_generics(&item.generics);
                item.fields
                    .iter()
                    .filter(|field| is_public(&field.vis))
                    .for_each(|field| look.visit_type(&field.ty));
            }
            Item::Union(item) if is_public(&item.vis) => {
                let mut look = self.look(names, &format!("union {}", item.ident));
                look.visit_generics(&item.generics);
                let public = item.fields.named.iter().filter(|field| is_public(&field.vis));
                public.for_each(|field| look.visit_type(&field.ty));
            }
            Item::Enum(item) if is_public(&item.vis) => {
                let mut look = self.look(names, &format!("enum {}", item.ident));
                look.visit_generics(&item.generics);
                let fields = item.variants.iter().flat_map(|variant| &variant.fields);
                fields.for_each(|field| look.visit_type(&field.ty));
            }
            Item::Type(item) if is_public(&item.vis) => {
                let mut look = self.look(names, &format!("type {}", item.ident));
                look.visit_generics(&item.generics);
                look.visit_type(&item.ty);
            }
            Item::Const(item) if is_public(&item.vis) => {
                self.look(names, &format!("const {}", item.ident)).visit_type(&item.ty);
            }
            Item::Static(item) if is_public(&item.vis) => {
                self.look(names, &format!("static {}", item.ident)).visit_type(&item.ty);
            }
            Item::Trait(item) if is_public(&item.vis) => self.contract(item, names),
            _ => {}
        }
    }

    /// Checks a public trait: everything in it is public.
    fn contract(&mut self, item: &syn::ItemTrait, names: &Names) {
        let mut look = self.look(names, &format!("trait {}", item.ident));
        look.visit_generics(&item.generics);
        item.supertraits.iter().for_each(|bound| look.visit_type_param_bound(bound));
        for member in &item.items {
            match member {
                TraitItem::Fn(member) => look.visit_signature(&member.sig),
                TraitItem::Const(member) => look.visit_type(&member.ty),
                TraitItem::Type(member) => look.visit_trait_item_type(member),
                _ => {}
            }
        }
    }

    fn implementation(&mut self, item: &syn::ItemImpl, names: &Names) {
        if self.surface.is_hidden(&name_of(&item.self_ty)) {
            return;
        }
        if let Some((_, path, _)) = &item.trait_ {
            if self.surface.is_hidden(&last(path)) {
                return;
            }
            let mut look = self.look(names, &format!("impl {} for {}", last(path), name_of(&item.self_ty)));
            look.visit_generics(&item.generics);
            look.visit_path(path);
            look.visit_type(&item.self_ty);
            for member in &item.items {
                // The trait owns the signatures of methods, which repeat what its own parameters say.
                match member {
                    ImplItem::Type(member) => look.visit_type(&member.ty),
                    ImplItem::Const(member) => look.visit_type(&member.ty),
                    _ => {}
                }
            }
            return;
        }
        let mut any_public = false;
        for member in &item.items {
            match member {
                ImplItem::Fn(member) if is_public(&member.vis) => {
                    self.look(names, &format!("fn {}", member.sig.ident)).visit_signature(&member.sig);
                }
                ImplItem::Const(member) if is_public(&member.vis) => {
                    self.look(names, &format!("const {}", member.ident)).visit_type(&member.ty);
                }
                _ => continue,
            }
            any_public = true;
        }
        if any_public {
            let mut look = self.look(names, &format!("impl {}", name_of(&item.self_ty)));
            look.visit_generics(&item.generics);
            look.visit_type(&item.self_ty);
        }
    }

    /// Finds globs: `pub use mp_sys::…::*` promises whatever is there, and a private glob hides names from this check.
    fn globs(&mut self, item: &syn::ItemUse) {
        let mut imports = imports::imports(item).into_iter();
        if !is_for_tests(&item.attrs) && imports.any(|import| import.name == "*" && import.path[0] == FLOOR) {
            let message = format!("a glob of `{FLOOR}`: list the names that are needed");
            self.findings.push(Finding::new(self.path, item.span().start().line, message));
        }
    }

    fn look<'look>(&'look mut self, names: &'look Names, item: &str) -> Look<'look> {
        let Self { surface, path, findings } = self;
        Look { surface, names, path, findings, item: item.to_owned() }
    }
}

/// Looks for paths into `mp-sys` in one public signature.
struct Look<'a> {
    surface: &'a Surface,
    names: &'a Names,
    path: &'a str,
    findings: &'a mut Vec<Finding>,
    /// What the signature belongs to.
    item: String,
}

impl<'ast> Visit<'ast> for Look<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let Some(found) = self.surface.resolve(self.names, path)
            && !self.surface.reexports(&found)
        {
            let found = found.join("::");
            let message =
                format!("the public `{}` names `{found}`, which this crate does not re-export", self.item);
            self.findings.push(Finding::new(self.path, path.span().start().line, message));
        }
        visit::visit_path(self, path);
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}

fn last(path: &syn::Path) -> String {
    path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default()
}

/// The name of a type without its parameters; `_` for a type without a name.
fn name_of(ty: &syn::Type) -> String {
    match ty {
        syn::Type::Path(ty) => last(&ty.path),
        syn::Type::Reference(ty) => name_of(&ty.elem),
        _ => "_".to_owned(),
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return false;
        };
        let condition = list.tokens.to_string();
        let words: Vec<_> = condition.split(|c: char| !c.is_alphanumeric()).collect();
        list.path.is_ident("cfg") && words.contains(&"test") && !words.contains(&"not")
    })
}

#[cfg(test)]
mod tests;
