//! A report as a page.
//!
//! The server writes the whole page, so it also works without a script. The script only replaces the content by that of a newer
//! page. Names are those that any client chose, so everything but fixed text goes through [`Escaped`].

use std::cmp::Reverse;
use std::fmt::{self, Display, Write};
use std::time::Duration;

use manager_rt::report::{ClientReport, LockHolder, ObjectId, Report, TASKS_FROM, WaitFor, WaitReport};

use crate::http::limits::LINES_MAX;
use crate::http::source::Sample;

pub(super) const STYLE: &str = include_str!("page.css");
pub(super) const SCRIPT: &str = include_str!("page.js");

/// The empty circle that browsers show in the title.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='6' \
                    fill='%232a6d9f'/%3E%3C/svg%3E";

/// Returns the page.
pub(super) fn page(sample: &Sample) -> String {
    let mut page = Page(String::new());
    page.add(format_args!(
        "<!doctype html>\n<html lang=\"en\" data-updates=\"0\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>mp-manager</title>\n<link rel=\"icon\" href=\"{ICON}\">\n\
         <link rel=\"stylesheet\" href=\"/page.css\">\n<script src=\"/page.js\" defer></script>\n\
         <noscript><meta http-equiv=\"refresh\" content=\"2\"></noscript>\n</head>\n<body>\n\
         <header><h1>mp-manager</h1><p id=\"state\" role=\"status\" data-state=\"waiting\">a moment ago</p></header>\n<main>\n"
    ));
    page.deadlocks(&sample.report);
    page.tiles(sample);
    page.locks(&sample.report);
    page.waits(&sample.report);
    page.clients(&sample.report);
    page.objects(sample);
    page.add(format_args!("</main>\n</body>\n</html>\n"));
    page.0
}

/// Text in which no character begins or ends an element or an attribute, or changes how the rest is read.
struct Escaped<T>(T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut escaper = Escaper(f);
        write!(escaper, "{}", self.0)
    }
}

struct Escaper<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| match c {
            '&' => self.0.write_str("&amp;"),
            '<' => self.0.write_str("&lt;"),
            '>' => self.0.write_str("&gt;"),
            '"' => self.0.write_str("&quot;"),
            '\'' => self.0.write_str("&#39;"),
            // Such a name could look like another one.
            c if c.is_control() || is_invisible(c) => write!(self.0, "{}", c.escape_unicode()),
            c => self.0.write_char(c),
        })
    }
}

/// Returns `true` for characters that change the direction of text, or have no shape.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

/// An object by its name, or by its number if it has none.
struct Named<'a>(Option<&'a str>, ObjectId);

impl Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(Some(name), _) => f.write_str(name),
            Self(None, id) => id.fmt(f),
        }
    }
}

/// A time, as two units at most.
struct Time(Duration);

impl Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.as_secs(), self.0.subsec_millis());
        let (minutes, hours) = (seconds / 60, seconds / 3_600);
        match seconds {
            0 => write!(f, "{millis} ms"),
            1..10 => write!(f, "{seconds}.{} s", millis / 100),
            10..60 => write!(f, "{seconds} s"),
            60..3_600 => write!(f, "{minutes} min {} s", seconds % 60),
            3_600..86_400 => write!(f, "{hours} h {} min", minutes % 60),
            _ => write!(f, "{} d {} h", hours / 24, hours % 24),
        }
    }
}

/// A number of bytes.
struct Bytes(u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shift = (64_u32.saturating_sub(self.0.leading_zeros()).saturating_sub(1) / 10).min(4);
        let unit = ["B", "KiB", "MiB", "GiB", "TiB"].get(usize::try_from(shift).unwrap_or(0)).unwrap_or(&"B");
        let unit_bytes = 1_u64 << (10 * shift);
        let whole = self.0 / unit_bytes;
        if shift == 0 || whole >= 100 {
            return write!(f, "{whole} {unit}");
        }
        write!(f, "{whole}.{} {unit}", (self.0 % unit_bytes).saturating_mul(10) / unit_bytes)
    }
}

/// What a call waits for.
const fn action(wait_for: WaitFor) -> &'static str {
    match wait_for {
        WaitFor::Lock => "the lock",
        WaitFor::Permit => "a permit",
        WaitFor::Notification => "a notification",
        WaitFor::Flag => "the event",
        WaitFor::Room => "room",
        WaitFor::Items => "items",
        WaitFor::AllDone => "the end of all tasks",
        WaitFor::Parties => "the other parties",
        _ => "something newer than this program",
    }
}

struct Page(String);

impl Page {
    fn add(&mut self, what: fmt::Arguments<'_>) {
        self.0.push_str(&fmt::format(what));
    }

    fn deadlocks(&mut self, report: &Report) {
        for deadlock in report.deadlocks.iter().take(LINES_MAX) {
            self.add(format_args!("<section class=\"deadlock\"><h2>Deadlock</h2><ol>"));
            for wait in &deadlock.waits {
                let who = Who(report, wait.client, wait.thread);
                let what = Named(wait.name.as_deref(), wait.object);
                self.add(format_args!("<li>{} waits for {} ", Escaped(who), Escaped(wait.kind)));
                self.add(format_args!("<b>{}</b> for {}", Escaped(what), Time(wait.waited)));
                if let Some(LockHolder { client, thread, .. }) = &wait.holder {
                    self.add(format_args!(", held by {}", Escaped(Who(report, *client, *thread))));
                }
                self.add(format_args!("</li>"));
            }
            let ends = match deadlock.ends_in() {
                Some(time) => format!("It ends by itself in {} at the latest.", Time(time)),
                None => "It ends only if one of these processes is ended.".to_owned(),
            };
            self.add(format_args!("</ol><p class=\"note\">{ends}</p></section>\n"));
        }
    }

    fn tiles(&mut self, sample: &Sample) {
        let server = &sample.report.server;
        let rate = sample.rate.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.0}"));
        let tiles = [
            ("ops", "Operations a second", rate, format!("{} so far", server.operations)),
            (
                "memory",
                "Memory",
                Bytes(server.memory_used).to_string(),
                format!("of {}", Bytes(server.memory_max)),
            ),
            ("clients", "Clients", server.clients.to_string(), format!("of {}", server.clients_max)),
            ("objects", "Objects", server.objects.to_string(), format!("{} held", server.held)),
            ("waiting", "Waiting calls", server.waiters.to_string(), longest(&sample.report)),
            (
                "uptime",
                "Up",
                Time(server.uptime).to_string(),
                format!("pid {}, version {}", server.pid, server.version),
            ),
        ];
        let failed = format!("{} failed", server.failed_saves);
        let saved = server.last_save.map_or_else(|| "–".to_owned(), |ago| format!("{} ago", Time(ago)));
        // A server that keeps nothing has neither.
        let keeps = server.last_save.is_some() || server.failed_saves > 0;
        let saves = keeps.then_some(("saved", "Last save", saved, failed));
        self.add(format_args!("<dl class=\"tiles\">\n"));
        for (id, name, value, note) in tiles.into_iter().chain(saves) {
            self.add(format_args!(
                "<div><dt>{name}</dt><dd id=\"{id}\">{}</dd><dd class=\"note\">{}</dd></div>\n",
                Escaped(value),
                Escaped(note)
            ));
        }
        self.add(format_args!("</dl>\n"));
    }

    fn locks(&mut self, report: &Report) {
        let held = report.busy.iter().filter_map(|object| Some((object, object.holder.as_ref()?)));
        let mut held: Vec<_> = held.collect();
        held.sort_by_key(|(object, holder)| (Reverse(object.waiters), Reverse(holder.held_for), object.id));
        let heads = [("", "Lock"), ("", "Holder"), ("n", "Held for"), ("n", "Lease left"), ("n", "Waiting")];
        self.table(("locks", "Held locks"), &heads, held.len(), |place| {
            let (object, holder) = held.get(place)?;
            let lease = holder.lease_left.map_or_else(|| "–".to_owned(), |left| Time(left).to_string());
            Some(vec![
                Named(object.name.as_deref(), object.id).to_string(),
                Who(report, holder.client, holder.thread).to_string(),
                Time(holder.held_for).to_string(),
                lease,
                object.waiters.to_string(),
            ])
        });
    }

    fn waits(&mut self, report: &Report) {
        let heads =
            [("", "Call of"), ("", "Waits for"), ("", "Object"), ("n", "Waiting for"), ("n", "Time left")];
        self.table(("waits", "Waiting calls"), &heads, report.waits.len(), |place| {
            let WaitReport { client, thread, kind, name, object, .. } = report.waits.get(place)?;
            let wait = report.waits.get(place)?;
            let left = wait.time_left.map_or_else(|| "–".to_owned(), |left| Time(left).to_string());
            Some(vec![
                Who(report, *client, *thread).to_string(),
                action(wait.wait_for).to_owned(),
                format!("{kind} {}", Named(name.as_deref(), *object)),
                Time(wait.waited).to_string(),
                left,
            ])
        });
    }

    fn clients(&mut self, report: &Report) {
        let mut clients: Vec<_> = report.clients.iter().collect();
        clients.sort_by_key(|client| (Reverse(client.operations), client.number));
        let heads = [
            ("", "Client"),
            ("", "Program"),
            ("n", "Operations"),
            ("n", "Waiting"),
            ("n", "References"),
            ("n", "Kept"),
            ("n", "Connected"),
        ];
        self.table(("all-clients", "Clients"), &heads, clients.len(), |place| {
            let client = clients.get(place)?;
            Some(vec![
                client.number.to_string(),
                Place(client).to_string(),
                client.operations.to_string(),
                client.waiting.to_string(),
                client.references.to_string(),
                Bytes(client.bytes).to_string(),
                Time(client.connected_for).to_string(),
            ])
        });
    }

    fn objects(&mut self, sample: &Sample) {
        let heads = [
            ("", "Object"),
            ("", "Kind"),
            ("n", "Items"),
            ("n", "Memory"),
            ("n", "References"),
            ("n", "Waiting"),
            ("n", "Held"),
        ];
        self.table(("all-objects", "Largest objects"), &heads, sample.objects.len(), |place| {
            let object = sample.objects.get(place)?;
            let about = if object.is_estimate { "about " } else { "" };
            Some(vec![
                Named(object.name.as_deref(), object.id).to_string(),
                object.kind.to_string(),
                object.len.map_or_else(|| "–".to_owned(), |len| len.to_string()),
                format!("{about}{}", Bytes(object.bytes)),
                object.references.to_string(),
                object.waiters.to_string(),
                object.held.to_string(),
            ])
        });
        let all = usize::try_from(sample.report.server.objects).unwrap_or(usize::MAX);
        if sample.seen < all {
            self.add(format_args!(
                "<p class=\"note\">The largest of {} objects. <code>mp-manager ls</code> lists all of them.</p>\n",
                sample.seen
            ));
        }
    }

    /// Writes a table with the first lines of several. Each cell is escaped here.
    fn table(
        &mut self,
        (id, title): (&str, &str),
        heads: &[(&str, &str)],
        count: usize,
        line: impl Fn(usize) -> Option<Vec<String>>,
    ) {
        self.add(format_args!("<section><h2>{title}</h2>"));
        if count == 0 {
            return self.add(format_args!("<p class=\"note\" id=\"{id}\">none</p></section>\n"));
        }
        self.add(format_args!("<table id=\"{id}\"><thead><tr>"));
        for (class, head) in heads {
            self.add(format_args!("<th scope=\"col\" class=\"{class}\">{head}</th>"));
        }
        self.add(format_args!("</tr></thead><tbody>\n"));
        for cells in (0..count.min(LINES_MAX)).filter_map(line) {
            self.add(format_args!("<tr>"));
            for ((class, head), cell) in heads.iter().zip(cells) {
                self.add(format_args!("<td class=\"{class}\" data-name=\"{head}\">{}</td>", Escaped(cell)));
            }
            self.add(format_args!("</tr>\n"));
        }
        self.add(format_args!("</tbody></table>"));
        if let Some(more) = count.checked_sub(LINES_MAX).filter(|more| *more > 0) {
            self.add(format_args!("<p class=\"note\">and {more} more</p>"));
        }
        self.add(format_args!("</section>\n"));
    }
}

/// How long the oldest call has waited.
fn longest(report: &Report) -> String {
    let longest = report.waits.iter().map(|wait| wait.waited).max();
    longest.map_or_else(|| "none".to_owned(), |time| format!("the oldest for {}", Time(time)))
}

/// Where a client is.
struct Place<'a>(&'a ClientReport);

impl Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = &self.0.origin;
        match (&origin.address, &origin.program, origin.pid) {
            (Some(address), ..) => f.write_str(address),
            (None, Some(program), Some(pid)) => write!(f, "{program} (pid {pid})"),
            (None, None, Some(pid)) => write!(f, "pid {pid}"),
            _ => f.write_str("not visible"),
        }
    }
}

/// A thread of a client.
struct Who<'a>(&'a Report, u64, u64);

impl Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report, number, thread) = self;
        write!(f, "client {number}")?;
        if *thread < TASKS_FROM {
            write!(f, " thread {thread}")?;
        } else {
            f.write_str(" task")?;
        }
        match report.clients.iter().find(|client| client.number == *number) {
            Some(client) => write!(f, ", {}", Place(client)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_an_element_or_looks_like_another() {
        for (text, expected) in [
            ("plain é", "plain é"),
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\" onload='x'", "&quot; onload=&#39;x&#39;"),
            ("a&lt;b", "a&amp;lt;b"),
            ("a\0b\u{1b}[31m\n", "a\\u{0}b\\u{1b}[31m\\u{a}"),
            ("abc\u{202e}txt.exe\u{200b}", "abc\\u{202e}txt.exe\\u{200b}"),
        ] {
            assert_eq!(Escaped(text).to_string(), expected);
        }
    }

    #[test]
    fn times_and_bytes_have_short_forms() {
        let time = |millis| Time(Duration::from_millis(millis)).to_string();
        assert_eq!([0, 999, 1_000, 9_950].map(time), ["0 ms", "999 ms", "1.0 s", "9.9 s"]);
        assert_eq!([10_000, 59_999, 61_000].map(time), ["10 s", "59 s", "1 min 1 s"]);
        assert_eq!([3_600_000, 90_000_000].map(time), ["1 h 0 min", "1 d 1 h"]);
        let bytes = |bytes| Bytes(bytes).to_string();
        assert_eq!([0, 1_023, 1_024, 1_536].map(bytes), ["0 B", "1023 B", "1.0 KiB", "1.5 KiB"]);
        assert_eq!([104_857_600, u64::MAX].map(bytes), ["100 MiB", "16777215 TiB"]);
    }
}
