//! The command line, and its help.
//!
//! The comments of the options are their help, which is no Markdown.
#![cfg_attr(
    doc,
    expect(
        rustdoc::broken_intra_doc_links,
        rustdoc::invalid_html_tags,
        reason = "the comments are the help"
    )
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand};
use clap_complete::Shell;

use crate::types::Type;

/// Runs a manager that several programs share, and looks into one that runs.
///
/// A manager is a server that holds lists, dicts, values, locks and queues for any number of programs, on one host or several.
#[derive(Debug, Parser)]
#[command(name = "mp-manager", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Addresses:
  mp+unix:/run/app/jobs.sock      a socket on this host, for programs of the same user
  mp+tcp://jobs.example:7000      a port, for programs on any host; needs a key
  mp+tcp://[::1]:7000?lost_after=5s

Exit codes:
  0  done
  1  the operation failed or was refused, and changed nothing
  2  the arguments are wrong
  3  the manager cannot be reached, or a server cannot listen
  4  there is no such object, key, index or attribute
  5  the connection ended during the operation, which may or may not have happened";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server until SIGTERM, SIGINT or `shutdown` ends it
    Serve(Serve),
    /// Make a key file
    ///
    /// The file contains 32 random bytes as text, and only its owner can read it. A file that exists is never replaced.
    Keygen {
        /// The file to make
        file: PathBuf,
    },
    /// List the objects
    Ls(Ls),
    /// Show again and again what happens: locks, waiting calls, clients, objects
    ///
    /// It shows who holds which lock, who waits for it and for how long, and names calls that wait for each other for ever. If
    /// the output is not a terminal, it looks once.
    Top(Top),
    /// Print everything about one object
    Inspect(Inspect),
    /// Print what an object holds
    ///
    /// For a dict, a list, an array or a namespace: everything, or the value of one key, index or attribute. For an event:
    /// whether it is set. Programs store values of any type. Numbers, bool, char, String, and Option, Vec and tuples of these
    /// are printed as text; other values as hexadecimal bytes, with the reason on stderr.
    Get(Get),
    /// Set a value, the value of a key, or an item
    ///
    /// A String is written as it is. All other values, and what is inside a Vec or an Option, are written as JSON: 5, true,
    /// null, '["a", "b"]'. Bytes (Vec<u8>) can be written as 0x01ff, too.
    Set(Set),
    /// Remove an object by its name
    ///
    /// Programs that use it, or wait for it, get an error.
    Rm(Rm),
    /// Save all objects that have names to a file on the server's host
    ///
    /// The server goes on serving meanwhile. The file is replaced at once, by a complete one or not at all. A server that begins
    /// with `serve --restore FILE` has the objects again.
    Snapshot(Snapshot),
    /// End the server and all its objects
    ///
    /// It returns when the server has ended, and has saved its objects if it keeps them in a file.
    Shutdown(Shutdown),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// The manager to connect to.
#[derive(Debug, ClapArgs)]
pub(crate) struct Target {
    /// The address of the manager
    #[arg(long, value_name = "URL", env = "MP_MANAGER")]
    pub(crate) address: String,
    /// The file with the manager's key; only its owner may have access to it
    #[arg(long, value_name = "FILE", env = "MP_MANAGER_KEY_FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

/// The options of `shutdown`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Shutdown {
    /// How long to wait until the server has saved its objects and ended, such as 30s [default: 10min]
    ///
    /// Then the command fails with exit code 5. The server goes on saving, and ends after that.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// The options of `serve`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Serve {
    /// Listen at this path, for programs of the same user on this host
    ///
    /// A socket that a killed server left there is replaced. Sockets that a service manager such as systemd has passed are served
    /// as well, and then this option may be left out.
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<String>,
    /// Listen at this port, too, for programs on any host that have the key
    ///
    /// HOST says at which of this host's addresses: 0.0.0.0 or [::] for all, 127.0.0.1 for this host only. With port 0, the
    /// system chooses a port. A host that has been silent for 10 s counts as lost; HOST:PORT?lost_after=5s sets another time.
    #[arg(long, value_name = "HOST:PORT", requires = "key_file")]
    pub(crate) tcp: Vec<String>,
    /// Let in only programs that have the key in this file
    ///
    /// Only its owner may have access to the file, or, if that is root, its group may read it. With --tcp, the key needs at least 32
    /// bytes: see `keygen`. At SIGHUP, it is read again.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Accept the key in this file as well, so that a key can be replaced while programs run
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub(crate) accept_key_file: Vec<PathBuf>,
    /// How much memory everything that the server keeps may take together, such as 512MiB [default: 1GiB]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) memory: Option<usize>,
    /// How many clients may be connected at the same time [default: 10000, or what the limit of descriptors permits]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) clients: Option<u32>,
    /// Show what happens in the server as a page, at this port of this host or at IP:PORT
    ///
    /// The page is for every user of this host, and can change nothing. /metrics is for Prometheus. With port 0, the system
    /// chooses a port.
    #[arg(long, value_name = "PORT", value_parser = loopback)]
    pub(crate) http: Option<SocketAddr>,
    /// Let --http name an address that other hosts reach: everybody there can read the page, which has no password
    #[arg(long, requires = "http")]
    pub(crate) http_public: bool,
    /// Answer at --http also if a browser calls this host by this name
    #[arg(long, value_name = "NAME", requires = "http")]
    pub(crate) http_name: Vec<String>,
    /// End when no client has been connected for this time, such as 10min
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) idle_end: Option<Duration>,
    /// Begin with the objects in this file, which `snapshot` has written
    ///
    /// With --keep, it counts only if the file of --keep does not exist.
    #[arg(long, value_name = "FILE")]
    pub(crate) restore: Option<PathBuf>,
    /// Keep the objects in this file: begin with those in it, if it exists, and save them there at the end
    ///
    /// The end is SIGTERM, SIGINT, `shutdown` or --idle-end. A server that is killed saves nothing: see --keep-every.
    #[arg(long, value_name = "FILE")]
    pub(crate) keep: Option<PathBuf>,
    /// Save the objects to the file of --keep again and again, too, such as 1min
    #[arg(long, value_name = "DURATION", requires = "keep", value_parser = duration)]
    pub(crate) keep_every: Option<Duration>,
}

/// The options of `ls`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Ls {
    #[command(flatten)]
    pub(crate) target: Target,
    /// List objects without a name, too
    #[arg(long)]
    pub(crate) all: bool,
    /// Print a JSON array
    #[arg(long)]
    pub(crate) json: bool,
}

/// The options of `top`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Top {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Look once, and print averages since the server began
    #[arg(long)]
    pub(crate) once: bool,
    /// Print one JSON object in a line for each look
    #[arg(long)]
    pub(crate) json: bool,
    /// The time between two looks
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub(crate) interval: Duration,
}

/// The options of `inspect`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Inspect {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The name of the object
    pub(crate) name: String,
}

/// The options of `get`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Get {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The type, if mp-manager does not find it: `Vec<(u64, String)>`, or `String, f64` for a dict
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Option<Type>,
    /// The name of the object
    pub(crate) name: String,
    /// The key of a dict, the index in a list or array, or the name of an attribute
    #[arg(allow_negative_numbers = true)]
    pub(crate) key: Option<String>,
}

/// The options of `set`.
#[derive(Debug, ClapArgs)]
#[command(override_usage = "mp-manager set [OPTIONS] <NAME> [KEY] <VALUE>")]
pub(crate) struct Set {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Make the object, with values of this type, if there is none with this name: a value, or with a KEY a dict
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Option<Type>,
    /// The name of the object
    pub(crate) name: String,
    /// The key, index or attribute, if the object is not a single value; and the new value
    #[arg(required = true, num_args = 1..=2, value_names = ["KEY", "VALUE"], allow_negative_numbers = true)]
    pub(crate) key_and_value: Vec<String>,
}

/// The options of `rm`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Rm {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The name of the object
    pub(crate) name: String,
}

/// The options of `snapshot`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Snapshot {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The file to replace
    pub(crate) file: PathBuf,
}

/// Reads a port of this host, or an address and a port.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let port = text.parse().map(|port: u16| (Ipv4Addr::LOCALHOST, port).into());
    let address = port.or_else(|_| text.parse());
    address.map_err(|_| "expected a port or an IP address with a port, such as 7001 or [::1]:7001".to_owned())
}

/// Reads a number of bytes, with or without a unit.
fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text.get(digits.len()..).unwrap_or_default().trim_start() {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return Err("expected a number of bytes, such as 1000000, 512MiB or 2GiB".to_owned()),
    };
    // `usize::from_str` accepts a plus sign.
    let number = Some(digits)
        .filter(|digits| !digits.starts_with('+'))
        .and_then(|digits| digits.parse::<usize>().ok());
    let number = number.ok_or("expected a number of bytes, such as 512MiB")?;
    number.checked_mul(1 << shift).ok_or_else(|| "this is more than this machine can address".to_owned())
}

/// Reads a time, with a unit.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let millis = match text.get(digits.len()..).unwrap_or_default().trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err("expected a time, such as 500ms, 10s, 5min or 2h".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "expected a time, such as 10s".to_owned())?;
    let millis = number.checked_mul(millis).filter(|millis| *millis > 0);
    millis.map(Duration::from_millis).ok_or_else(|| "this time is 0, or too long".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_port_alone_is_one_of_this_host() {
        for (text, expected) in
            [("7001", "127.0.0.1:7001"), ("[::1]:0", "[::1]:0"), ("10.0.0.1:80", "10.0.0.1:80")]
        {
            assert_eq!(loopback(text).unwrap().to_string(), expected);
        }
        for text in ["", "65536", "-1", "host:80", "127.0.0.1", "::1"] {
            assert!(loopback(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_of_bytes_have_units() {
        for (text, expected) in
            [("0", 0), ("7", 7), ("7B", 7), ("3K", 3 << 10), ("512MiB", 512 << 20), ("2 GiB", 2 << 30)]
        {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "MiB", "-1", "+1", "1.5G", "1 mb", "99999999999999999999", "16777216TiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
    #[test]
    fn times_have_units() {
        for (text, millis) in [("1ms", 1), ("10s", 10_000), ("5 min", 300_000), ("2h", 7_200_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "s", "5", "0s", "-1s", "1.5s", "1 d", "99999999999999999999s", "18446744073709551615h"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
